import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Oracle } from '../../src/audit/oracle.ts'
import type { RecordBatch } from '../../src/core/record-batch.ts'
import { INPUT, inputs, OUTPUT, outputs, range, source } from './batches.ts'

const RECORDS = 20_000_000
const BATCH = 10_000
/** As in a topic that has been there for a while. */
const FIRST = 5_000_000_000
const MIB = 2 ** 20

test('twenty million records take five megabytes and a few seconds', { timeout: 60_000 }, () => {
  const input = inputs(0, range(0, BATCH))
  const output = outputs(OUTPUT, 0, 0, Array(BATCH).fill(source(0, FIRST)))
  const digitsEnd = lastDigits(output)
  const judge = new Oracle({ inputTopic: INPUT, partitions: 1, from: [FIRST] })
  const began = performance.now()
  for (let done = 0; done < RECORDS; done += BATCH) {
    judge.input({ ...input, baseOffset: FIRST + done })
    for (let i = 0; i < BATCH; i++) writeDigits(output.bytes, digitsEnd[i]!, FIRST + done + i)
    judge.prediction({ ...output, baseOffset: done })
  }
  const verdict = judge.finish({ committed: [FIRST + RECORDS], openTransactions: [] })
  const seconds = (performance.now() - began) / 1000
  assert.equal(verdict.clean, true)
  assert.deepEqual([verdict.inputs, verdict.predictions], [RECORDS, RECORDS])
  assert.ok(judge.bytes < 6 * MIB, `${judge.bytes / MIB} MiB`)
  assert.ok(seconds < 30, `${seconds} s`)
})

/** The position after each record's source, which comes last among its headers. */
function lastDigits({ columns, count }: RecordBatch): number[] {
  return range(0, count).map(index => columns[index * 8 + 7]!)
}

/** Overwrites the ten digits before `end`. */
function writeDigits(bytes: Buffer, end: number, value: number): void {
  let rest = value
  for (let at = end - 1; at >= end - 10; at--) {
    const tenth = Math.floor(rest / 10)
    bytes[at] = 0x30 + (rest - tenth * 10)
    rest = tenth
  }
}
