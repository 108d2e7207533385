// SHA-256 by OpenSSL.
#include "eval/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "base/error.h"

namespace eyrie::eval {

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EYRIE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) &&
                  size == digest.size(),
              "OpenSSL has no SHA-256");
  std::string text;
  for (const unsigned char byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace eyrie::eval
