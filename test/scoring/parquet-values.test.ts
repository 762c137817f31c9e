import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it } from 'node:test'
import type { SchemaElement } from 'hyparquet'
import { parquetWriteFile } from 'hyparquet-writer'
import { readLines, readRows, score, temporaryFolder } from './support.ts'

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

/** Writes the columns with the features of iris-classifier before them, and the values of two rows. */
function write(file: string, more: SchemaElement[], columns: Readonly<Record<string, unknown[]>>): void {
  const features = [...FEATURES, 'petal_width'].filter(name => !Object.hasOwn(columns, name))
  const schema: SchemaElement[] = [
    { name: 'root', num_children: features.length + Object.keys(columns).length },
    ...features.map(name => ({ name, type: 'FLOAT' as const, repetition_type: 'REQUIRED' as const })),
    ...more.map(element => ({ repetition_type: 'REQUIRED' as const, ...element })),
  ]
  const all = Object.entries({ ...Object.fromEntries(features.map(name => [name, [5, 3]])), ...columns })
  parquetWriteFile({
    filename: file,
    schema,
    columnData: all.map(([name, data]) => ({ name, data: data as number[] })),
  })
}

const DECIMAL = { type: 'INT32', converted_type: 'DECIMAL', scale: 2, precision: 8 } as const
const list = (name: string): SchemaElement[] => [
  { name, converted_type: 'LIST', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
]

it('Parquet: decimals in lists lose nothing; in lists of structs of one field they are doubles', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.parquet'), join(folder, 'out.jsonl')]
  const schema: SchemaElement[] = [
    ...[...list('plain'), { name: 'element', ...DECIMAL }],
    ...[...list('nested'), ...list('element'), { name: 'element', ...DECIMAL }],
    ...[...list('structs'), { name: 'element', num_children: 1 }, { name: 'amount', ...DECIMAL }],
    { name: 'struct', num_children: 1 },
    { name: 'items', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'amount', ...DECIMAL },
  ]
  const amounts = [{ amount: 150n }, { amount: -7n }]
  const columns = {
    plain: [[150n, -7n], []],
    nested: [[[150n], [-7n]], []],
    structs: [amounts, []],
    // The library that writes takes the items of what is no list without the name of their field.
    struct: [{ items: [150n, -7n] }, { items: [] }],
  }
  write(input, schema, columns)
  await score({ input, output, model: 'iris-classifier', keep: Object.keys(columns), rowNumbers: false })
  const kept = readLines(output).map(({ label: _, probabilities: __, ...rest }) => rest)
  const doubles = [{ amount: 1.5 }, { amount: -0.07 }]
  assert.deepEqual(kept, [
    { plain: ['1.50', '-0.07'], nested: [['1.50'], ['-0.07']], structs: doubles, struct: { items: doubles } },
    { plain: [], nested: [], structs: [], struct: { items: [] } },
  ])
})

it('Parquet: a value that makes no sense is said of its file', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.parquet'), join(folder, 'out.jsonl')]
  const logical = { type: 'DECIMAL', scale: 2, precision: 8 } as const
  write(input, [{ name: 'odd', type: 'DOUBLE', logical_type: logical }], { odd: [0.5, 1] })
  await assert.rejects(score({ input, output, model: 'iris-classifier', keep: ['odd'] }), {
    code: 'file-invalid',
    message: /in\.parquet cannot be read as Parquet: column "odd"/,
  })
})

it('Parquet: a decimal that is a feature is kept as a number where columns have types', async t => {
  const folder = temporaryFolder(t)
  const input = join(folder, 'in.parquet')
  write(
    input,
    [
      { name: 'petal_width', ...DECIMAL },
      { name: 'price', ...DECIMAL },
    ],
    {
      petal_width: [20n, -130n],
      price: [20n, -130n],
    },
  )
  for (const format of ['avro', 'parquet']) {
    const output = join(folder, `out.${format}`)
    await score({ input, output, model: 'iris-classifier', keep: ['petal_width', 'price'] })
    const kept = (await readRows(output)).map(row => [row.petal_width, row.price])
    assert.deepEqual(kept, [
      [0.2, '0.20'],
      [-1.3, '-1.30'],
    ])
  }
})

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
