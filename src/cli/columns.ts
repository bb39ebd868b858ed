/** Columns of tables as the flags say them, for the readers of src/data/rows.ts. */

import type { ExampleColumns, TextPairColumns } from '../data/index.js';

interface ColumnValues {
  readonly 'text-column'?: string;
  readonly 'pair-column'?: string;
  readonly 'label-column'?: string;
}

/** A number counts columns from 1, anything else is a name. */
const column = (name: string): number | string => (/^[1-9]\d*$/.test(name) ? Number(name) : name);

const chosen = (name: string, value: string | undefined): Record<string, number | string> =>
  value === undefined ? {} : { [name]: column(value) };

/** Which columns hold texts, second texts and labels. */
export const labelColumns = (values: ColumnValues): ExampleColumns => ({
  ...chosen('text', values['text-column']),
  ...chosen('pair', values['pair-column']),
  ...chosen('label', values['label-column']),
});

/** Which columns hold texts and what is to be written for them. */
export const pairColumns = (values: ColumnValues): TextPairColumns => ({
  ...chosen('source', values['text-column']),
  ...chosen('target', values['label-column']),
});
