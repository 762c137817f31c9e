import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseTimelineEntry, type TimelineEntry, timelineRecord } from '../../src/core/timeline.ts'
import { rangesOf } from '../../src/core/timeline-ranges.ts'
import { seeded } from '../codec/support.ts'

const hashed = (version: string) => ({ version, sha256: `sha of ${version}` })

function entry(offset: number, stable: string, changes: Partial<TimelineEntry> = {}): TimelineEntry {
  const place = { group: 'g', topic: 'in', partition: 0, offset }
  return { ...place, model: 'iris', revision: 1, stable: hashed(stable), shadows: [], at: offset, ...changes }
}

const shown = (entries: readonly TimelineEntry[], committed: readonly number[]) =>
  rangesOf(entries, committed).map(({ partition, from, to, plan }) => [partition, from, to, plan.stable])

suite('which version answered which offsets', () => {
  test('from each entry to the next, and to what is committed', () => {
    const entries = [entry(0, '1'), entry(5, '1', { partition: 1 }), entry(40, '2'), entry(90, '3')]
    assert.deepEqual(shown(entries, [120, 50]), [
      [0, 0, 40, '1'],
      [0, 40, 90, '2'],
      [0, 90, 120, '3'],
      [1, 5, 50, '1'],
    ])
    assert.deepEqual(shown([entry(7, '1')], []), [[0, 7, undefined, '1']])
    assert.deepEqual(shown([entry(7, '1')], [-1]), [[0, 7, undefined, '1']])
  })

  test('equal neighbours are one; another hash, percentage or shadow is not equal', () => {
    const canary = { ...hashed('2'), percent: 5 }
    const entries = [
      entry(0, '1'),
      entry(10, '1', { revision: 2 }),
      entry(20, '1', { canary }),
      entry(25, '1', { canary: { ...canary, percent: 6 } }),
      entry(30, '1', { shadows: [hashed('3'), hashed('4')] }),
      entry(35, '1', { shadows: [hashed('4'), hashed('3')] }),
      entry(40, '1', { stable: { version: '1', sha256: 'made anew' } }),
    ]
    const ranges = rangesOf(entries, [50])
    assert.deepEqual(
      ranges.map(({ from, to }) => [from, to]),
      [
        [0, 20],
        [20, 25],
        [25, 30],
        [30, 40],
        [40, 50],
      ],
    )
    assert.deepEqual(ranges[1]?.plan, { stable: '1', canary: { version: '2', percent: 5 }, shadows: [] })
    assert.deepEqual(ranges[1]?.sha256, { '1': 'sha of 1', '2': 'sha of 2' })
    assert.deepEqual([ranges[0]?.revision, ranges[0]?.since], [1, 0])
  })

  test('where the group was set back, what it answered last', () => {
    const entries = [entry(0, '1'), entry(50, '2'), entry(70, '3'), entry(60, '1'), entry(60, '4'), entry(80, '4')]
    assert.deepEqual(shown(entries, [100]), [
      [0, 0, 50, '1'],
      [0, 50, 60, '2'],
      [0, 60, 100, '4'],
    ])
    assert.deepEqual(shown([entry(50, '2'), entry(0, '1')], [10]), [[0, 0, 10, '1']])
  })

  test('every offset has the answer of the last entry at or before it, and ranges touch without overlapping', () => {
    const versions = fc.constantFrom('1', '2', '3')
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(30), versions), { minLength: 1, maxLength: 30 }), places => {
        const answered: string[] = []
        const entries = places.map(([offset, version]) => {
          answered.fill(version, offset)
          for (let i = Math.max(offset, answered.length); i < 40; i++) answered[i] = version
          return entry(offset, version)
        })
        const ranges = rangesOf(entries, [40])
        for (const [i, { from, to, plan }] of ranges.entries()) {
          for (let offset = from; offset < to!; offset++) assert.equal(plan.stable, answered[offset])
          if (i > 0) assert.equal(from, ranges[i - 1]!.to)
          if (i > 0) assert.notDeepEqual(plan, ranges[i - 1]!.plan)
        }
        assert.equal(ranges.at(-1)!.to, 40)
        assert.equal(ranges[0]!.from, Math.min(...places.map(([offset]) => offset)))
      }),
      seeded(300),
    )
  })

  test('a record says all of its entry; what is none is not read', () => {
    const whole = entry(5, '1', { canary: { ...hashed('2'), percent: 0.5 }, shadows: [hashed('3')] })
    const { key, value } = timelineRecord(whole)
    assert.equal(key, 'g/in/0')
    assert.deepEqual(parseTimelineEntry(value), whole)
    const fields = JSON.parse(value)
    const others = [
      { format: 2 },
      { stable: undefined },
      { shadows: undefined },
      { offset: '5' },
      { canary: { percent: 5 } },
    ]
    for (const other of others) assert.equal(parseTimelineEntry(JSON.stringify({ ...fields, ...other })), undefined)
    for (const text of ['', 'null', '{', '[]']) assert.equal(parseTimelineEntry(text), undefined)
  })
})
