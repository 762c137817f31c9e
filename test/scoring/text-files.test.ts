import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LOOKUP, writeFixtureBundle } from '../faults/bundles.ts'
import { deadLetterFile, readLines, score, temporaryFolder } from './support.ts'

const HEADER = 'sepal_length,sepal_width,petal_length,petal_width'
const FLOWER = { sepal_length: 5, sepal_width: 3, petal_length: 1, petal_width: 0 }

describe('CSV', () => {
  it('whose quote is closed by the quote of another row is refused: two rows would be one', async t => {
    const folder = temporaryFolder(t)
    const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.jsonl')]
    writeFileSync(input, `${HEADER},note\n5,3,1,0,"x\n5,3,1,0,"y"\n`)
    const request = { input, output, model: 'iris-classifier' }
    await assert.rejects(score(request), { code: 'file-invalid', message: /is no valid CSV: .*Quote/ })
  })

  it('has lines that end in either way', async t => {
    const folder = temporaryFolder(t)
    const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.jsonl')]
    for (const header of ['\r\n', '\n']) {
      writeFileSync(input, `${HEADER},note${header}5,3,1,0,a\n5,3,1,0,b\r\n\r\n\n5,3,1,0,c`)
      const summary = await score({ input, output, model: 'iris-classifier', keep: ['note'], force: true })
      assert.equal(summary.deadLetters, 0)
      assert.deepEqual(
        readLines(output).map(({ note }) => note),
        ['a', 'b', 'c'],
      )
    }
  })

  it('whose lines end in CR alone is refused, not taken for a header without rows', async t => {
    const folder = temporaryFolder(t)
    const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.jsonl')]
    const request = { input, output, model: 'iris-classifier', keep: 'all' as const }
    for (const text of [`${HEADER},note\r5,3,1,0,a\r`, `${HEADER}\r\r\n5,3,1,0\r\r\n`]) {
      writeFileSync(input, text)
      const message = /in\.csv has a carriage return \(CR\) in its header: save it with lines that end in LF or CRLF/
      await assert.rejects(score(request), { code: 'file-invalid', message })
    }
    writeFileSync(input, `${HEADER},"two\r\nlines"\r\n5,3,1,0,a\r\n`)
    await score(request)
    assert.equal(readLines(output)[0]!['two\r\nlines'], 'a')
  })

  it('of one column has empty cells, which are rows', async t => {
    const folder = temporaryFolder(t)
    writeFixtureBundle(folder, LOOKUP)
    const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.jsonl')]
    writeFileSync(input, '\nindex\n3\n\r\n5\n')
    const summary = await score({ input, output, model: 'lookup', store: folder })
    assert.deepEqual(summary.deadLettersByCode, { 'feature-null': 1 })
    assert.deepEqual(readLines(output), [
      { row: 0, value: 30 },
      { row: 2, value: 50 },
    ])
    writeFileSync(input, '""\n3\n')
    const request = { input, output, model: 'lookup', store: folder, force: true }
    await assert.rejects(score(request), { code: 'schema-misfit', message: /no column "index"/ })
  })

  it('that is not UTF-8 is refused; characters may lie across two reads', async t => {
    const folder = temporaryFolder(t)
    const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.jsonl')]
    const request = { input, output, model: 'iris-classifier', keep: ['note'] }
    for (const bytes of [[0xe9], [0xf0, 0x9f, 0x98], [0xff, 0xfe]]) {
      writeFileSync(input, Buffer.concat([Buffer.from(`${HEADER},note\n5,3,1,0,`), Buffer.from(bytes)]))
      await assert.rejects(score(request), { code: 'file-invalid', message: /in\.csv is not UTF-8/ })
    }
    const notes = Array.from({ length: 30_000 }, (_, i) => `${'x'.repeat(i % 5)}é€😀`)
    writeFileSync(input, `${HEADER},note\n${notes.map(note => `5,3,1,0,${note}\n`).join('')}`)
    await score(request)
    assert.deepEqual(
      readLines(output).map(({ note }) => note),
      notes,
    )
  })
})

describe('JSON Lines', () => {
  it('whose end is filled with zeros has a dead letter for them', async t => {
    const folder = temporaryFolder(t)
    const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')]
    writeFileSync(input, `${JSON.stringify(FLOWER)}\n \t\r\n${'\0'.repeat(100)}`)
    const summary = await score({ input, output, model: 'iris-classifier' })
    assert.deepEqual([summary.rows, summary.predictions], [2, 1])
    assert.deepEqual(summary.deadLettersByCode, { 'invalid-json': 1 })
  })

  it('keeps integers that a double cannot hold, in dead letters, too', async t => {
    const folder = temporaryFolder(t)
    const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')]
    const id = '"id":9007199254740993,"ids":[-123456789012345678901234567890,0.1234567890123456789]'
    const long = `"long":${'7'.repeat(200)}`
    writeFileSync(input, `{${id},${long},${JSON.stringify(FLOWER).slice(1)}\n{${id}}\n`)
    const request = { input, output, model: 'iris-classifier', force: true }
    await score({ ...request, keep: 'all' })
    const kept = '"id":9007199254740993,"ids":[-123456789012345678901234567890,0.12345678901234568]'
    assert.ok(readFileSync(output, 'utf8').startsWith(`{"row":0,${kept},${long},`))
    assert.ok(readFileSync(deadLetterFile(output), 'utf8').endsWith(`"input":{${kept}}}\n`))
    const avro = join(folder, 'out.avro')
    await score({ ...request, output: avro, keep: ['id', 'long'] })
    const text = readFileSync(avro, 'latin1')
    assert.ok(text.includes('9007199254740993') && text.includes('7'.repeat(200)))
  })
})
