// Chat: messages become the text that a model was trained to answer, by the template in its tokenizer's files.
//
//   node dist/examples/07-chat.js [folder of a chat model] [question]
//
// Without arguments it gives the model of 06-train-llama a template: the form is that of a chat, the answer is Shakespeare's.
// `tsgpt chat --model FOLDER` is the same as a conversation.

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { AutoModelForCausalLM, AutoTokenizer, type ChatMessage, generate, PretrainedTokenizer } from 'tsgpt';

const [folder = 'models/example-llama', question = 'Who art thou?'] = process.argv.slice(2);
if (folder === 'models/example-llama' && !existsSync(join(folder, 'chat_template.jinja'))) {
  writeFileSync(
    join(folder, 'chat_template.jinja'),
    '{% for message in messages %}{{ message.role | upper }}:\n{{ message.content }}\n\n{% endfor %}' +
      '{% if add_generation_prompt %}ASSISTANT:\n{% endif %}',
  );
}
const model = AutoModelForCausalLM.fromPretrained(folder);
const tokenizer = AutoTokenizer.fromPretrained(folder);
if (!(tokenizer instanceof PretrainedTokenizer))
  throw new Error(`${folder}: its tokenizer has no chat template`);

const messages: ChatMessage[] = [{ role: 'user', content: question }];
console.log(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true }));

// What a user writes is never read as one of the tokens that mark a message's end.
const prompt = tokenizer.encodeChat(messages, { addGenerationPrompt: true });
const answer = generate(model, tokenizer, prompt, { maxNewTokens: 60, stopStrings: '\n\n', seed: 1 });
let text = '';
for await (const piece of answer) {
  process.stdout.write(piece);
  text += piece;
}
messages.push({ role: 'assistant', content: text });
console.log(`\n[${messages.length} messages]`);
