/** The tokenizer of a `tokenizer.json` that training has made. */

import { readTokenizerConfig } from './config.js';
import { PretrainedTokenizer } from './pretrained.js';
import { partsFromJson } from './sources/tokenizer-json.js';

export function trainedTokenizer(json: object): PretrainedTokenizer {
  return new PretrainedTokenizer(partsFromJson(json), readTokenizerConfig({}, {}, null));
}
