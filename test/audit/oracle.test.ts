import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { Oracle, type OracleOptions } from '../../src/audit/oracle.ts'
import { type FaultKind, type Verdict, vanished } from '../../src/audit/verdict.ts'
import { DEAD_LETTERS, INPUT, inputs, OUTPUT, outputs, range, type Source, source } from './batches.ts'

const AT_REST = { openTransactions: [] }
const oracle = (options: Partial<OracleOptions> = {}) => new Oracle({ inputTopic: INPUT, partitions: 2, ...options })
const sources = (partition: number, offsets: readonly number[]) => offsets.map(offset => source(partition, offset))

/** Fails unless exactly these faults are counted, and the verdict is clean where there are none. */
function assertFaults(verdict: Verdict, expected: Partial<Record<FaultKind, number>>): void {
  const none = { lost: 0, doubled: 0, misordered: 0, torn: 0, foreign: 0 }
  const counts = Object.fromEntries(Object.entries(verdict.faults).map(([kind, { count }]) => [kind, count]))
  assert.deepEqual(counts, { ...none, ...expected })
  assert.equal(verdict.clean, Object.keys(expected).length === 0 && verdict.openTransactions.length === 0)
}

/** Ten records of partition 0, whose outputs name `named`, of a group that has committed all. */
function tenRecords(named: readonly Source[], committed = 10): Verdict {
  const judge = oracle()
  judge.input(inputs(0, range(0, 10)))
  judge.prediction(outputs(OUTPUT, 0, 0, named))
  return judge.finish({ committed: [committed, 0], ...AT_REST })
}

suite('the oracle', () => {
  test('finds nothing where each record has one prediction or one dead letter, in order', () => {
    const judge = oracle()
    judge.input(inputs(0, range(0, 10)))
    judge.input(inputs(1, range(5, 8)))
    judge.prediction(outputs(OUTPUT, 0, 100, sources(0, [0, 1, 2, 4, 5, 6, 7, 8])))
    judge.deadLetter(outputs(DEAD_LETTERS, 0, 7, sources(0, [3, 9])))
    judge.prediction(outputs(OUTPUT, 1, 0, sources(1, [5, 6, 7])))
    const verdict = judge.finish({ committed: [10, 8], ...AT_REST })
    assertFaults(verdict, {})
    const { inputs: read, predictions, deadLetters, pending } = verdict
    assert.deepEqual(
      { read, predictions, deadLetters, pending },
      { read: 13, predictions: 11, deadLetters: 2, pending: 0 },
    )
  })

  test('lost: below the committed offset without an output', () => {
    const verdict = tenRecords(sources(0, [0, 1, 2, 3, 5, 6, 8, 9]))
    assertFaults(verdict, { lost: 2 })
    assert.deepEqual(verdict.faults.lost.examples, [
      { input: { topic: INPUT, partition: 0, offset: 4 }, seen: undefined, detail: '' },
      { input: { topic: INPUT, partition: 0, offset: 7 }, seen: undefined, detail: '' },
    ])
  })

  test('lost: the whole of a partition', () => {
    const judge = oracle()
    judge.input(inputs(1, range(40, 140)))
    assertFaults(judge.finish({ committed: [0, 140], ...AT_REST }), { lost: 100 })
  })

  test('pending is what the group has not come to, and no fault', () => {
    const verdict = tenRecords(sources(0, range(0, 6)), 6)
    assertFaults(verdict, {})
    assert.equal(verdict.pending, 4)
  })

  test('a group without any offset has lost nothing', () => {
    const judge = oracle()
    judge.input(inputs(0, range(0, 10)))
    const verdict = judge.finish({ committed: [-1, -1], ...AT_REST })
    assertFaults(verdict, {})
    assert.equal(verdict.pending, 10)
  })

  test('doubled: named by two predictions, or by a prediction and a dead letter', () => {
    const judge = oracle()
    judge.input(inputs(0, range(0, 10)))
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [...range(0, 10), 4])))
    judge.deadLetter(outputs(DEAD_LETTERS, 1, 3, sources(0, [9])))
    const verdict = judge.finish({ committed: [10], ...AT_REST })
    assertFaults(verdict, { doubled: 2 })
    const [again, both] = verdict.faults.doubled.examples
    assert.deepEqual(again?.input, { topic: INPUT, partition: 0, offset: 4 })
    assert.deepEqual(again?.seen, { topic: OUTPUT, partition: 0, offset: 10 })
    assert.deepEqual(both?.seen, { topic: DEAD_LETTERS, partition: 1, offset: 3 })
    assert.equal(both?.detail, `first at ${OUTPUT}/0/9`)
  })

  test('misordered: behind the output of a later record', () => {
    const verdict = tenRecords(sources(0, [0, 1, 2, 5, 3, 4, 6, 7, 8, 9]))
    assertFaults(verdict, { misordered: 2 })
    const [example] = verdict.faults.misordered.examples
    assert.deepEqual(example?.seen, { topic: OUTPUT, partition: 0, offset: 4 })
    assert.equal(example?.detail, 'it comes after the output for offset 5')
  })

  test('order is that of one input partition in one output partition', () => {
    const judge = oracle()
    judge.input(inputs(0, range(0, 4)))
    judge.input(inputs(1, range(0, 4)))
    judge.prediction(outputs(OUTPUT, 0, 0, [source(0, 2), source(1, 0), source(0, 3), source(1, 2)]))
    judge.prediction(outputs(OUTPUT, 1, 0, [source(1, 1), source(0, 0), source(1, 3), source(0, 1)]))
    assertFaults(judge.finish({ committed: [4, 4], ...AT_REST }), {})
  })

  test('torn: visible at or above the committed offset', () => {
    const verdict = tenRecords(sources(0, range(0, 8)), 6)
    assertFaults(verdict, { torn: 2 })
    assert.equal(verdict.pending, 2)
    assert.deepEqual(verdict.faults.torn.examples[0], {
      input: { topic: INPUT, partition: 0, offset: 6 },
      seen: { topic: OUTPUT, partition: 0, offset: 6 },
      detail: 'the group’s offset is 6',
    })
  })

  test('of a group at work, what it has committed meanwhile is neither torn nor lost', () => {
    const judge = oracle()
    judge.input(inputs(0, range(0, 10)))
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, range(0, 8))))
    const verdict = judge.finish({ committed: [6], committedAfter: [10], ...AT_REST })
    assertFaults(verdict, {})
    assert.equal(verdict.pending, 2)
  })

  const FOREIGN: readonly (readonly [what: string, named: Source, detail: RegExp])[] = [
    ['no header', undefined, /no header "source"/],
    ['another topic', 'flowers/0/3', /is "flowers\/0\/3"/],
    ['a topic that begins alike', `${INPUT}s/0/3`, /is "featuress\/0\/3"/],
    ['a partition that is not there', source(2, 3), /is "features\/2\/3"/],
    ['no offset', `${INPUT}/0/`, /is "features\/0\/"/],
    ['no partition', `${INPUT}//3`, /is/],
    ['only the topic', `${INPUT}/`, /is "features\/"/],
    ['a negative offset', `${INPUT}/0/-1`, /is/],
    ['more than an offset', `${INPUT}/0/3/4`, /is/],
    ['an offset beyond 2^53', `${INPUT}/0/99999999999999999999`, /is/],
    ['nothing at all', '', /is ""/],
    ['an offset without a record, below the group’s', source(0, 5), /no such input record/],
    ['an offset without a record, above the group’s', source(0, 50), /no such input record/],
    ['an offset far away', source(0, 2 ** 50), /no such input record/],
  ]
  for (const [what, named, detail] of FOREIGN) {
    test(`foreign: an output whose source is ${what}`, () => {
      const judge = oracle()
      judge.input(inputs(0, [0, 1, 2, 3, 4, 6]))
      judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [0, 1, 2, 3, 4])))
      judge.prediction(outputs(OUTPUT, 0, 5, [named]))
      judge.prediction(outputs(OUTPUT, 0, 6, sources(0, [6])))
      const verdict = judge.finish({ committed: [7], ...AT_REST })
      assert.equal(verdict.faults.foreign.count, 1)
      const [example] = verdict.faults.foreign.examples
      assert.match(example!.detail, detail)
      assert.deepEqual(example!.seen, { topic: OUTPUT, partition: 0, offset: 5 })
      assert.equal(verdict.clean, false)
    })
  }

  test('gaps in the input, as control records leave them, are no loss', () => {
    const judge = oracle()
    judge.input(inputs(0, [0, 1, 4, 5, 9]))
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [0, 1, 4, 5, 9])))
    assertFaults(judge.finish({ committed: [11], ...AT_REST }), {})
  })

  test('an open transaction is no clean verdict', () => {
    const judge = oracle()
    const verdict = judge.finish({ committed: [], openTransactions: ['group.features.0'] })
    assert.equal(verdict.clean, false)
    assert.deepEqual(verdict.openTransactions, ['group.features.0'])
  })

  test('judges a range only', () => {
    const judge = oracle({ from: [3, 0], to: [6, 0] })
    judge.input(inputs(0, range(0, 10)))
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [0, 0, 3, 5, 8])))
    const verdict = judge.finish({ committed: [10], ...AT_REST })
    assertFaults(verdict, { lost: 1 })
    assert.deepEqual([verdict.inputs, verdict.predictions, verdict.outside], [3, 2, 3])
  })

  test('input that retention takes away while it is read is not judged', () => {
    const judge = oracle()
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, range(3, 8))))
    judge.skipTo(0, 5)
    judge.input(inputs(0, range(5, 10)))
    judge.prediction(outputs(OUTPUT, 0, 5, sources(0, [8, 9])))
    assertFaults(judge.finish({ committed: [10], ...AT_REST }), {})
  })

  test('outputs that name offsets all over the place take no memory', () => {
    const judge = oracle()
    judge.input(inputs(0, [0]))
    const far = range(1, 500).map(i => 2 ** 40 * i)
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [0, ...far])))
    assertFaults(judge.finish({ committed: [1], ...AT_REST }), { foreign: 499 })
    assert.ok(judge.bytes < 20_000, `${judge.bytes} bytes`)
  })

  test('settles again and again, and finds each loss once', () => {
    const found: string[] = []
    const judge = oracle({ onFault: (kind, { input }) => found.push(`${kind} ${input?.offset}`) })
    judge.input(inputs(0, range(0, 4)))
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [0, 2])))
    judge.settle([3])
    assert.deepEqual(found, ['lost 1'])
    judge.prediction(outputs(OUTPUT, 0, 2, sources(0, [3])))
    judge.settle([4])
    judge.settle([4])
    assertFaults(judge.finish({ committed: [4], ...AT_REST }), { lost: 1 })
  })

  test('names the first cases of each fault, and counts all', () => {
    const judge = oracle({ examples: 3 })
    judge.input(inputs(0, range(0, 200_000)))
    judge.prediction(outputs(OUTPUT, 0, 0, sources(0, [199_999])))
    const verdict = judge.finish({ committed: [200_000], ...AT_REST })
    assertFaults(verdict, { lost: 199_999 })
    assert.deepEqual(
      verdict.faults.lost.examples.map(({ input }) => input?.offset),
      [0, 1, 2],
    )
  })

  test('any interleaving of inputs and outputs gives the same verdict', () => {
    const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) }
    const record = fc.record({ partition: fc.nat(1), copies: fc.nat(2), dead: fc.boolean() })
    const schedule = fc.tuple(
      fc.array(record, { maxLength: 40 }),
      fc.infiniteStream(fc.boolean()),
      fc.nat(20),
      fc.nat(20),
    )
    fc.assert(
      fc.property(schedule, ([records, outputFirst, ...committed]) => {
        const next = [0, 0]
        const placed = records.map(each => ({ ...each, offset: next[each.partition]!++ }))
        const ins = placed.map(({ partition, offset }) => inputs(partition, [offset]))
        const outs = placed.flatMap(({ partition, offset, copies }) => Array(copies).fill(source(partition, offset)))
        const expected = { lost: 0, doubled: 0, torn: 0 }
        for (const { partition, offset, copies } of placed) {
          if (copies === 2) expected.doubled++
          if (copies === 0 && offset < committed[partition]!) expected.lost++
          if (copies > 0 && offset >= committed[partition]!) expected.torn++
        }
        const judge = oracle()
        let at = 0
        while (ins.length > 0 || at < outs.length) {
          const first = outputFirst.next().value
          if (at < outs.length && (first || ins.length === 0)) judge.prediction(outputs(OUTPUT, 0, at, [outs[at++]]))
          else judge.input(ins.shift()!)
        }
        const { faults } = judge.finish({ committed, ...AT_REST })
        assert.deepEqual({ lost: faults.lost.count, doubled: faults.doubled.count, torn: faults.torn.count }, expected)
        assert.equal(faults.misordered.count + faults.foreign.count, 0)
      }),
      seed,
    )
  })
})

suite('two readings of the same outputs', () => {
  const reading = (...batches: ReturnType<typeof outputs>[]) => {
    const judge = oracle()
    for (const batch of batches) judge.prediction(batch)
    return judge.finish({ committed: [], ...AT_REST })
  }
  const early = reading(outputs(OUTPUT, 0, 0, sources(0, range(0, 6))), outputs(OUTPUT, 1, 0, sources(1, [0, 1])))

  test('are equal, whatever the order of the partitions and the size of the batches', () => {
    const late = reading(
      outputs(OUTPUT, 1, 0, sources(1, [0, 1])),
      outputs(OUTPUT, 0, 0, sources(0, range(0, 2))),
      outputs(OUTPUT, 0, 2, sources(0, range(2, 6))),
    )
    assert.deepEqual(vanished(early, late), [])
  })

  test('differ where a record is gone, or another lies in its place', () => {
    const gone = reading(outputs(OUTPUT, 0, 0, sources(0, range(0, 5))), outputs(OUTPUT, 1, 0, sources(1, [0, 1])))
    const other = reading(outputs(OUTPUT, 0, 0, sources(0, range(0, 6))), outputs(OUTPUT, 1, 0, sources(1, [0, 2])))
    const swapped = reading(outputs(OUTPUT, 0, 0, sources(0, range(0, 6))), outputs(OUTPUT, 1, 0, sources(1, [1, 0])))
    const none = reading(outputs(OUTPUT, 0, 0, sources(0, range(0, 6))))
    const where = (late: Verdict) => vanished(early, late).map(({ partition, late }) => [partition, late === undefined])
    assert.deepEqual(where(gone), [[0, false]])
    assert.deepEqual(where(other), [[1, false]])
    assert.deepEqual(where(swapped), [[1, false]])
    assert.deepEqual(where(none), [[1, true]])
  })

  test('may go on after the early one', () => {
    const late = reading(outputs(OUTPUT, 0, 0, sources(0, range(0, 7))), outputs(OUTPUT, 1, 0, sources(1, [0, 1])))
    assert.deepEqual(vanished(early, late), [])
  })
})
