import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type LogPosition, parseLogPosition } from '../../src/core/log-position.ts'
import type { ReplayPosition } from '../../src/core/replay.ts'
import type { TimelineRange } from '../../src/core/timeline-ranges.ts'
import { rangesToReplay, timelineOf } from '../../src/replay/ranges.ts'
import { requestTag } from '../../src/replay/request-tag.ts'

const log = { start: [10, 0], end: [100, 50] }

function ranges(from: string, to: string, resolved: { from: number[]; to: number[] }, knownTo?: number[]) {
  const position = (text: string): LogPosition => parseLogPosition('--x', text)
  return rangesToReplay({ topic: 'in', from: position(from), to: position(to), resolved, log, knownTo }).map(
    range => [range.from, range.to] as const,
  )
}

describe('the range of a replay', () => {
  it('is what there is of it', () => {
    assert.deepEqual(ranges('earliest', 'latest', { from: [10, 0], to: [100, 50] }), [
      [10, 100],
      [0, 50],
    ])
  })

  it('is empty where nothing lies in it', () => {
    assert.deepEqual(ranges('2026-01-01', '2026-01-02', { from: [60, 50], to: [60, 50] }), [
      [60, 60],
      [50, 50],
    ])
  })

  it('must end after it begins', () => {
    const swapped = () => ranges('2026-01-02', '2026-01-01', { from: [60, 50], to: [20, 0] })
    assert.throws(swapped, /--from is not before --to/)
    const beyond = () => ranges('offset:0=101', 'latest', { from: [101, 0], to: [100, 50] })
    assert.throws(beyond, /offset 101 of in\/0, but the range ends at 100/)
  })

  it('ends where nobody knows who answered', () => {
    assert.deepEqual(ranges('earliest', 'latest', { from: [10, 0], to: [100, 50] }, [40, -1]), [
      [10, 40],
      [0, 0],
    ])
  })

  it('is refused where offsets are named that are not there, or not known', () => {
    const all = { from: [5, 0], to: [100, 50] }
    assert.throws(() => ranges('offset:0=5', 'latest', all), /offset 5 of in\/0, which begins at 10/)
    assert.throws(() => ranges('earliest', 'offset:1=51', { from: [10, 0], to: [100, 51] }), /in\/1, which ends at 50/)
    const known = () => ranges('earliest', 'offset:1=50', { from: [10, 0], to: [100, 50] }, [100, 40])
    assert.throws(known, /offset 50 of in\/1, of which the group has answered what lies below 40/)
    assert.throws(() => ranges('offset:2=0', 'latest', all), /in has no partition 2; it has 2/)
  })
})

describe('the timeline of a replay', () => {
  const entry = (partition: number, from: number, to: number | undefined, stable: string): TimelineRange => {
    const plan = { stable, shadows: [] }
    return { partition, from, to, plan, sha256: {}, model: 'iris', revision: 1, since: 0 }
  }
  const position = (partition: number, from: number, to: number): ReplayPosition => {
    return { partition, from, to, request: 'r', by: 'as-of', done: from, begun: false }
  }
  const timeline = [
    entry(0, 10, 40, '1'),
    entry(0, 40, 60, '2'),
    entry(0, 60, undefined, '3'),
    entry(1, 5, undefined, '1'),
  ]
  const stable = (positions: ReplayPosition[]) => timelineOf('in', timeline, positions).map(({ plan }) => plan.stable)

  it('is the part that answers the range', () => {
    assert.deepEqual(stable([position(0, 40, 60)]), ['2'])
    assert.deepEqual(stable([position(0, 39, 61)]), ['1', '2', '3'])
    assert.deepEqual(stable([position(0, 70, 99), position(1, 5, 6)]), ['3', '1'])
  })

  it('must begin before the range does, unless that is empty', () => {
    assert.throws(
      () => stable([position(1, 4, 9)]),
      /in\/1 from offset 4 on is not known: the timeline begins at offset 5/,
    )
    assert.throws(() => stable([position(2, 0, 9)]), /in\/2 .* says nothing of it/)
    assert.deepEqual(stable([position(1, 4, 4)]), [])
  })
})

describe('the tag of a request', () => {
  it('is the same for the same request, whatever the order, and another for any other', () => {
    const tag = requestTag({ from: 'earliest', version: '2' })
    assert.match(tag, /^[0-9a-f]{12}$/)
    assert.equal(requestTag({ version: '2', from: 'earliest' }), tag)
    assert.notEqual(requestTag({ from: 'earliest', version: '3' }), tag)
  })
})
