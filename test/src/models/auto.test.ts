/** Which class a folder's files get, by model_type and architectures, and what the classes of one kind refuse. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  AutoModel,
  AutoModelForCausalLM,
  AutoModelForMaskedLM,
  AutoModelForQuestionAnswering,
  AutoModelForSeq2SeqLM,
  AutoModelForSequenceClassification,
  AutoModelForTextEncoding,
  AutoModelForTokenClassification,
  BertForMaskedLM,
  BertForPreTraining,
  BertForSequenceClassification,
  BertModel,
  ConfigError,
  DistilBertModel,
  noGrad,
  type RobertaModel,
  StateDictError,
  T5,
} from '../../../src/index.js';
import { bits } from '../../support/compare.js';
import { int32 } from '../../support/encoders.js';
import { golden } from '../../support/golden.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-auto-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A copy of a recorded model whose configuration says something else. */
function changed(name: string, keys: Record<string, unknown>): string {
  const copy = join(folder, `${name}-${Object.keys(keys).join('-')}`);
  cpSync(golden(name), copy, { recursive: true });
  const path = join(copy, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, ...keys }));
  return copy;
}

describe('AutoModel', () => {
  it.each([
    ['hf-gpt2', 'GPT'],
    ['hf-mistral', 'Llama'],
    ['hf-t5-v1_1-gated-gelu-untied', 'T5'],
    ['hf-bert-pretraining', 'BertForPreTraining'],
    ['hf-bert-mlm-untied', 'BertForMaskedLM'],
    ['hf-bert-seqcls', 'BertForSequenceClassification'],
    ['hf-bert-tokcls', 'BertForTokenClassification'],
    ['hf-bert-qa', 'BertForQuestionAnswering'],
    ['hf-roberta-mlm', 'RobertaForMaskedLM'],
    ['hf-roberta-seqcls', 'RobertaForSequenceClassification'],
    ['hf-roberta-tokcls', 'RobertaForTokenClassification'],
    ['hf-roberta-qa', 'RobertaForQuestionAnswering'],
    ['hf-distilbert-mlm', 'DistilBertForMaskedLM'],
    ['hf-distilbert-seqcls', 'DistilBertForSequenceClassification'],
    ['hf-distilbert-tokcls', 'DistilBertForTokenClassification'],
    ['hf-distilbert-qa', 'DistilBertForQuestionAnswering'],
  ])('%s is a %s', (name, kind) => {
    const model = AutoModel.fromPretrained(golden(name));
    expect(model.constructor.name).toBe(kind);
    expect(model.training).toBe(false);
  });

  it('gives what the class itself loads, in the dtype that is asked for', () => {
    const name = golden('hf-bert-mlm-untied');
    const ids = int32([[1, 5, 3]]);
    const auto = AutoModel.fromPretrained(name) as BertForMaskedLM;
    const own = BertForMaskedLM.fromPretrained(name);
    expect(bits(noGrad(() => auto.forward(ids)))).toEqual(bits(noGrad(() => own.forward(ids))));
    const half = AutoModel.fromPretrained(name, { dtype: 'bfloat16' }) as BertForMaskedLM;
    expect(half.bert.embeddings.word_embeddings.weight.dtype).toBe('bfloat16');
  });

  it('is the base model where architectures says so or nothing', () => {
    const base = join(folder, 'base');
    BertModel.fromPretrained(golden('hf-bert-seqcls')).savePretrained(base);
    expect((AutoModel.fromPretrained(base) as BertModel).pooler).not.toBeNull();
    const bare = AutoModel.fromPretrained(changed('hf-bert-tokcls', { architectures: undefined }));
    expect(bare).toBeInstanceOf(BertModel);
    expect((bare as BertModel).pooler).toBeNull();
  });

  it('knows the names of other RoBERTas', () => {
    const other = changed('hf-roberta-mlm', {
      model_type: 'xlm-roberta',
      architectures: ['XLMRobertaForMaskedLM'],
    });
    expect(AutoModel.fromPretrained(other).constructor.name).toBe('RobertaForMaskedLM');
  });

  it('refuses heads that it does not know', () => {
    const choice = changed('hf-bert-seqcls', { architectures: ['BertForMultipleChoice'] });
    expect(() => AutoModel.fromPretrained(choice)).toThrow(ConfigError);
    expect(() => AutoModel.fromPretrained(choice)).toThrow(
      'architectures is ["BertForMultipleChoice"], known for bert are those that end with Model, ForMaskedLM, ' +
        'ForPreTraining, ForSequenceClassification, ForTokenClassification, ForQuestionAnswering; ' +
        'AutoModelForTextEncoding loads the base model of any',
    );
    expect(AutoModelForTextEncoding.fromPretrained(choice)).toBeInstanceOf(BertModel);
  });
});

describe('the classes of one kind', () => {
  it('load their own', () => {
    expect(AutoModelForCausalLM.fromPretrained(golden('hf-gpt2')).constructor.name).toBe('GPT');
    expect(AutoModelForSeq2SeqLM.fromPretrained(golden('hf-t5-gelu-shallow'))).toBeInstanceOf(T5);
    expect(AutoModelForMaskedLM.fromPretrained(golden('hf-bert-pretraining'))).toBeInstanceOf(
      BertForMaskedLM,
    );
    expect(AutoModelForTokenClassification.fromPretrained(golden('hf-roberta-tokcls')).training).toBe(false);
    expect(AutoModelForQuestionAnswering.fromPretrained(golden('hf-distilbert-qa')).training).toBe(false);
  });

  it('give the encoder of any head, with a pooler where the file has one', () => {
    const encoder = (name: string) => AutoModelForTextEncoding.fromPretrained(golden(name));
    expect((encoder('hf-bert-seqcls') as BertModel).pooler).not.toBeNull();
    expect((encoder('hf-bert-qa') as BertModel).pooler).toBeNull();
    expect((encoder('hf-roberta-qa') as RobertaModel).pooler).toBeNull();
    expect(encoder('hf-distilbert-mlm')).toBeInstanceOf(DistilBertModel);
  });

  it('start a new head', () => {
    const options = { newHead: true, labels: ['negative', 'positive'] };
    const model = AutoModelForSequenceClassification.fromPretrained(golden('hf-bert-pretraining'), options);
    expect(model).toBeInstanceOf(BertForSequenceClassification);
    expect(model.initialized).toEqual(['classifier.weight', 'classifier.bias']);
    expect(model.config.id2label).toEqual({ 0: 'negative', 1: 'positive' });
    expect(() => AutoModelForSequenceClassification.fromPretrained(golden('hf-bert-pretraining'))).toThrow(
      StateDictError,
    );
  });

  it('refuse what is of another kind, and say who loads it', () => {
    expect(() => AutoModelForSeq2SeqLM.fromPretrained(golden('hf-gpt2'))).toThrow(
      'model_type is "gpt2", AutoModelForSeq2SeqLM loads t5; AutoModel loads it',
    );
    expect(() => AutoModelForTextEncoding.fromPretrained(golden('hf-t5-gelu-shallow'))).toThrow(
      'model_type is "t5", AutoModelForTextEncoding loads bert, roberta, xlm-roberta, camembert, distilbert; AutoModel loads it',
    );
    expect(AutoModel.modelTypes).toContain('t5');
    expect(AutoModelForCausalLM.modelTypes).not.toContain('bert');
    expect(AutoModel.fromPretrained(golden('hf-bert-pretraining'))).toBeInstanceOf(BertForPreTraining);
  });
});
