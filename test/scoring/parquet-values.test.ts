import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it } from 'node:test'
import type { SchemaElement } from 'hyparquet'
import { parquetWriteFile } from 'hyparquet-writer'
import { readLines, score, temporaryFolder } from './support.ts'

const FEATURES = ['sepal_length', 'sepal_width', 'petal_length']

/** Leaves, and the two values of each. */
const COLUMNS: [SchemaElement, unknown[]][] = [
  ...FEATURES.map((name): [SchemaElement, unknown[]] => [{ name, type: 'FLOAT' }, [5, 3]]),
  [{ name: 'petal_width', type: 'INT32', converted_type: 'DECIMAL', scale: 1, precision: 5 }, [2n, -13n]],
  [{ name: 'micros', type: 'INT64', converted_type: 'TIMESTAMP_MICROS' }, [1700000000123456n, -1n]],
  [
    { name: 'nanos', type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'NANOS' } },
    [1700000000123456789n, 0n],
  ],
  [{ name: 'small', type: 'INT64', converted_type: 'DECIMAL', scale: 3, precision: 18 }, [300n, -7n]],
  [
    {
      name: 'large',
      type: 'FIXED_LEN_BYTE_ARRAY',
      type_length: 16,
      converted_type: 'DECIMAL',
      scale: 2,
      precision: 38,
    },
    [12345678901234567890123456789012345678n, -1n],
  ],
  [{ name: 'bytes', type: 'BYTE_ARRAY' }, [Uint8Array.of(0xff, 0, 0xfe), Buffer.from('text')]],
  [{ name: 'kind', type: 'BYTE_ARRAY', converted_type: 'ENUM' }, [Buffer.from('one'), Buffer.from('two')]],
  [{ name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8' }, ['é', '']],
]

it('Parquet: timestamps, decimals and bytes lose nothing; a decimal may be a feature', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.parquet'), join(folder, 'out.jsonl')]
  const leaves = COLUMNS.map(([leaf]) => ({ repetition_type: 'REQUIRED' as const, ...leaf }))
  const columnData = COLUMNS.map(([{ name }, data]) => ({ name, data: data as number[] }))
  const schema: SchemaElement[] = [{ name: 'root', num_children: leaves.length }, ...leaves]
  parquetWriteFile({ filename: input, schema, columnData })
  await score({ input, output, model: 'iris-classifier', keep: COLUMNS.slice(3).map(([{ name }]) => name) })
  const kept = readLines(output).map(({ row: _, label: __, probabilities: ___, ...rest }) => rest)
  assert.deepEqual(kept, [
    {
      petal_width: 0.2,
      micros: '2023-11-14T22:13:20.123456Z',
      nanos: '2023-11-14T22:13:20.123456789Z',
      small: '0.300',
      large: '123456789012345678901234567890123456.78',
      bytes: '/wD+',
      kind: 'one',
      text: 'é',
    },
    {
      petal_width: -1.3,
      micros: '1969-12-31T23:59:59.999999Z',
      nanos: '1970-01-01T00:00:00.000000000Z',
      small: '-0.007',
      large: '-0.01',
      bytes: 'dGV4dA==',
      kind: 'two',
      text: '',
    },
  ])
})
