// Range checks for a configuration's numbers.
#include "base/config_range.h"

namespace eyrie::base {
namespace {

template <class T>
T checked(const Config& section, const std::string& key, T value, T least, T most) {
  const std::string why = out_of_range(value, least, most);
  if (!why.empty()) throw section.error(key, why);
  return value;
}

}  // namespace

std::int64_t in_range(const Config& section, const std::string& key, std::int64_t value,
                      std::int64_t least, std::int64_t most) {
  return checked(section, key, value, least, most);
}

double in_range(const Config& section, const std::string& key, double value, double least,
                double most) {
  return checked(section, key, value, least, most);
}

std::int64_t get_whole(Config& section, const std::string& key, std::int64_t least,
                       std::int64_t most) {
  return checked(section, key, section.get<std::int64_t>(key), least, most);
}

std::int64_t get_whole(Config& section, const std::string& key, std::int64_t fallback,
                       std::int64_t least, std::int64_t most) {
  return checked(section, key, section.get<std::int64_t>(key, fallback), least, most);
}

double get_number(Config& section, const std::string& key, double fallback, double least,
                  double most) {
  return checked(section, key, section.get<double>(key, fallback), least, most);
}

}  // namespace eyrie::base
