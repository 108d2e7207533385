// tokenizer.json, in which transformers keeps a tokenizer beside its SentencePiece file. Eyrie
// reads the SentencePiece file and only checks that tokenizer.json agrees with it.
#pragma once

#include <string>

#include "base/file.h"
#include "text/tokenizer.h"

namespace eyrie::text {

// Throws InputError naming both files if their vocabularies differ: if for more than one in a
// hundred of the tokenizer's ids tokenizer.json has another piece, or none. (Conversions rename a
// few pieces, and fine-tuned models add some.)
void check_same_vocabulary(const Tokenizer& tokenizer, const base::Path& model,
                           const base::Path& tokenizer_json);

}  // namespace eyrie::text
