import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { readRows, score, temporaryFolder, writeLines } from './support.ts'

const FLOWER = { sepal_length: 5, sepal_width: 3, petal_length: 1, petal_width: 0 }

it('a column without a name, as of pandas, has one in Avro', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.avro')]
  writeFileSync(input, `,${Object.keys(FLOWER).join(',')},_\n7,5,3,1,0,x\n`)
  await score({ input, output, model: 'iris-classifier', keep: 'all' })
  const [row] = await readRows(output)
  assert.deepEqual([row!._, row!.input__, row!.sepal_length], ['7', 'x', 5])
})

it('a row of JSON that is kept whole has every name once', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')]
  writeLines(input, [
    { row: 'a', input_row: 'b', ...FLOWER },
    { input_row: 'b', row: 'a', ...FLOWER },
  ])
  await score({ input, output, model: 'iris-classifier', keep: 'all' })
  const [first, second] = readFileSync(output, 'utf8').split('\n')
  assert.ok(first!.startsWith('{"row":0,"input_row":"a","input_input_row":"b","sepal_length":5,'), first)
  assert.ok(second!.startsWith('{"row":1,"input_row":"b","input_input_row":"a","sepal_length":5,'), second)
})
