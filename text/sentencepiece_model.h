// The bytes of a SentencePiece model: a protocol buffer whose outermost fields are its pieces and
// its settings. The library reads them; here is what it does not offer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace eyrie::text {

// Whether a model has all its parts. Pieces come first in it, so a file cut off between two pieces
// still parses, as a model of fewer pieces; the trainer's and the normalizer's settings come last,
// and every model has them.
bool has_all_parts(std::string_view model);

// The same model, but no text is ever encoded as one of these pieces. Ids stay as they are.
std::string without_pieces(std::string_view model, const std::vector<std::string>& pieces);

}  // namespace eyrie::text
