// Turns a run-time number of rows into a constant:
// with_row_count(3, [](auto rows) { kernel<rows>(…); }).
#pragma once

#include <cstdint>
#include <type_traits>

namespace eyrie::tensor::cpu {

constexpr std::int64_t kRowsAtOnce = 8;  // rows per kernel call: their sums stay in registers

template <class Body>
void with_row_count(std::int64_t rows, Body&& body) {  // 1 … kRowsAtOnce
  switch (rows) {
    case 1:
      return body(std::integral_constant<int, 1>());
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 4:
      return body(std::integral_constant<int, 4>());
    case 5:
      return body(std::integral_constant<int, 5>());
    case 6:
      return body(std::integral_constant<int, 6>());
    case 7:
      return body(std::integral_constant<int, 7>());
    default:
      return body(std::integral_constant<int, kRowsAtOnce>());
  }
}

}  // namespace eyrie::tensor::cpu
