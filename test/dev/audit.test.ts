import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Answer, audit, type Sent } from '../../dev/demo/audit.ts'

const CODES = ['prediction', 'prediction', 'null-value']

/** Records 0 to 11, three on each of four partitions, and the right answers to them. */
function exactlyOnce(): { sent: Sent<number>[]; answers: Answer<number>[] } {
  const sent: Sent<number>[] = []
  const answers: Answer<number>[] = []
  for (let id = 0; id < 12; id++) {
    const [partition, offset] = [id % 4, Math.floor(id / 4)]
    const outcome = CODES[offset]!
    const record = { id, outcome, key: `key-${id}`, timestamp: 1_000 + id }
    const topic = outcome === 'prediction' ? 'out' : 'dlq'
    sent.push(record)
    answers.push({ ...record, topic, partition, offset, source: { partition, offset } })
  }
  return { sent, answers }
}

/** The audit of answers that a fault has changed. */
function auditOf(fault: (answers: Answer<number>[]) => void) {
  const { sent, answers } = exactlyOnce()
  fault(answers)
  return audit(sent, answers)
}

const TROUBLES = ['lost', 'doubled', 'misordered', 'wrong', 'unexpected'] as const

type Counts = Partial<Record<(typeof TROUBLES)[number], number>>

function assertTroubles(result: ReturnType<typeof audit>, expected: Counts, example: RegExp): void {
  const counts = Object.fromEntries(TROUBLES.map(name => [name, result[name]]))
  assert.deepEqual(counts, { lost: 0, doubled: 0, misordered: 0, wrong: 0, unexpected: 0, ...expected })
  assert.equal(result.passed, false)
  assert.match(result.examples.join('\n'), example)
}

describe('the audit', () => {
  it('passes when every record is answered exactly once, in any mix of partitions', () => {
    const result = auditOf(answers => answers.sort((a, b) => b.partition - a.partition))
    assert.deepEqual(result, {
      recordsIn: 12,
      predictions: 8,
      deadLetters: { 'null-value': 4 },
      lost: 0,
      doubled: 0,
      misordered: 0,
      wrong: 0,
      unexpected: 0,
      examples: [],
      passed: true,
    })
  })

  it('finds a lost record', () => {
    const result = auditOf(answers => answers.splice(5, 1))
    assertTroubles(result, { lost: 1 }, /^lost: record 5 with key key-5; expected a prediction$/)
  })

  it('finds a doubled record, behind everything else', () => {
    const result = auditOf(answers => answers.push({ ...answers[2]!, offset: 9 }))
    assertTroubles(result, { doubled: 1 }, /^doubled: record 2 again at out\/2\/9$/)
  })

  it('finds a record that was predicted and dead-lettered', () => {
    const result = auditOf(answers => answers.push({ ...answers[2]!, topic: 'dlq', outcome: 'trailing-bytes' }))
    assertTroubles(result, { doubled: 1 }, /^doubled: record 2 again at dlq\/2\/0$/)
  })

  it('finds a lost and a doubled record that cancel out in the sum', () => {
    const result = auditOf(answers => answers.splice(5, 1, answers[1]!))
    assert.equal(result.predictions + result.deadLetters['null-value']!, result.recordsIn)
    assertTroubles(result, { lost: 1, doubled: 1 }, /doubled: record 1[\s\S]*lost: record 5/)
  })

  it('finds answers that changed places within their partition', () => {
    const result = auditOf(answers => {
      const [first, second] = [answers[1]!, answers[5]!]
      answers[1] = second
      answers[5] = first
    })
    assertTroubles(result, { misordered: 1 }, /^misordered: offset 0 at out\/1\/0 comes after offset 1$/)
  })

  for (const [what, change, example] of [
    ['outcome', { outcome: 'prediction' }, /is a prediction; expected a dead letter \(null-value\)/],
    ['key', { key: 'other' }, /has the key other; expected key-9/],
    ['timestamp', { timestamp: 7 }, /has the timestamp 7; expected 1009/],
    ['partition', { partition: 3 }, /should be in partition 1/],
  ] as const) {
    it(`finds an answer with a wrong ${what}`, () => {
      const result = auditOf(answers => {
        answers[9] = { ...answers[9]!, ...change }
      })
      assertTroubles(result, { wrong: 1 }, example)
    })
  }

  it('finds answers to nothing that was sent', () => {
    const result = auditOf(answers => {
      answers.push({ ...answers[0]!, id: 77 }, { ...answers[0]!, id: undefined })
    })
    assertTroubles(result, { unexpected: 2 }, /record 77 at out[\s\S]*record \? at out/)
  })

  it('names a few examples of each trouble, and counts all', () => {
    const result = auditOf(answers => {
      answers.length = 0
    })
    assert.equal(result.lost, 12)
    assert.equal(result.examples.length, 3)
  })
})
