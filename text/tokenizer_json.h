// tokenizer.json, in which transformers keeps a tokenizer beside the SentencePiece file of the
// same. Eyrie reads the latter; the former is looked at for whether it says the same.
#pragma once

#include <string>

#include "base/file.h"
#include "text/tokenizer.h"

namespace eyrie::text {

// InputError names both files where they are of different vocabularies: where more than one in a
// hundred of the tokenizer's ids is another piece in tokenizer.json, or none. (Conversions rename a
// few pieces, and fine-tuned models add some.)
void check_same_vocabulary(const Tokenizer& tokenizer, const base::Path& model,
                           const base::Path& tokenizer_json);

}  // namespace eyrie::text
