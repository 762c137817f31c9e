import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { FAULT_KINDS, type FaultKind, type Finding } from '../../src/audit/verdict.ts'
import type { AuditVerdict, ValueVerdict } from '../../src/auditing/audit-contract.ts'
import { audit } from '../../src/commands/audit.ts'
import { formatReport } from '../../src/commands/audit-report.ts'
import { ProgressLine } from '../../src/commands/progress-line.ts'
import { FakeClock } from '../pipeline/fake-clock.ts'
import { brokers } from '../support/broker.ts'

/** Runs the command in this process, on topics that need not exist. */
function run(...argv: string[]): Promise<void> {
  return runWith({ INPUT_TOPIC: 'audit-of-nothing', OUTPUT_TOPIC: 'b' }, argv)
}

function runWith(topics: Record<string, string>, argv: readonly string[] = []): Promise<void> {
  const env = { KAFKA_BROKERS: brokers().join(','), ...topics }
  const { signal } = new AbortController()
  const stderr = { write: () => assert.fail('nothing goes to standard error') }
  const print = () => assert.fail('nothing is printed')
  return audit.run({ argv, env, dotenvFile: '/nowhere/.env', signal, print, stderr, release: '0', useLog: () => {} })
}

const NOTHING: Finding = { count: 0, examples: [] }
const NO_FAULTS = Object.fromEntries(Object.keys(FAULT_KINDS).map(kind => [kind, NOTHING])) as Record<
  FaultKind,
  Finding
>
const CLEAN: AuditVerdict = {
  clean: true,
  inputs: 1_000_000,
  predictions: 999_000,
  deadLetters: 1_000,
  outside: 0,
  pending: 0,
  faults: NO_FAULTS,
  openTransactions: [],
  outputs: [],
  atWork: false,
  committed: [1_000_000],
  strayOffsets: [],
  unread: [],
  gaps: [],
  trimmed: [],
}
const SUBJECT = { groupId: 'g', inputTopic: 'in', outputTopic: 'out', deadLetterTopic: 'in.dlq' }

/** Five values that are equal, three of them to the bit, and some that could not be compared. */
function values(reasons: Partial<ValueVerdict['unchecked']['reasons']>): ValueVerdict {
  const count = Object.values(reasons).reduce((sum, each) => sum + each, 0)
  const all = { version: 0, memory: 0, input: 0, undecodable: 0, ...reasons }
  return {
    equal: 5,
    identical: 3,
    different: { count: 0, examples: [] },
    unchecked: { count, reasons: all },
    notes: [],
  }
}
const report = (verdict: Partial<AuditVerdict>) => formatReport({ ...CLEAN, ...verdict }, SUBJECT)

suite('the command', () => {
  const WRONG: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [['--to', 'offset:0=1,0=2'], /--to is "offset:0=1,0=2"/],
    [['--examples', 'all'], /--examples is "all"; a whole number from 0/],
    [['--examples', '-1'], /--examples is "-1"/],
    [['all'], /"all" is no option/],
    [['--follow=maybe'], /--follow must be true or false/],
  ]
  for (const [args, message] of WRONG) {
    test(`refuses ${args.join(' ')}`, async () => {
      await assert.rejects(run(...args), { code: 'invalid-config', exitCode: 2, message })
    })
  }

  test('names a topic that does not exist', async () => {
    const message = 'Topic audit-of-nothing does not exist.'
    const remedy = /^Correct its name, or create it/
    await assert.rejects(run(), { code: 'topic-missing', exitCode: 1, message, remedy })
  })

  test('asks for the settings that nothing follows for', async () => {
    const message = 'not set, but needed here: INPUT_TOPIC (--input-topic)'
    await assert.rejects(runWith({ OUTPUT_TOPIC: 'b' }), { code: 'invalid-config', message })
  })
})

suite('the report', () => {
  test('of a clean verdict ends with a sentence', () => {
    const text = report({})
    assert.match(text, /^Group g: in -> out, dead letters in in\.dlq$/m)
    assert.match(text, /^input records +1,000,000$/m)
    assert.match(text, /^lost +0 /m)
    assert.match(text, /\n\nEvery input record is reflected exactly once\.$/)
    assert.match(report({ pending: 7, atWork: true }), /that the group has come to is [^\n]* The group is at work\.$/)
  })

  test('names what was found, and what could not be found', () => {
    const place = { topic: 'in', partition: 2, offset: 1841 }
    const lost = { count: 1_200, examples: [{ input: place, seen: undefined, detail: '' }] }
    const text = report({
      clean: false,
      faults: { ...NO_FAULTS, lost },
      openTransactions: ['g.in.2'],
      unread: [{ topic: 'out', partition: 2, position: 5, end: 9 }],
      gaps: [{ topic: 'in', partition: 0, from: 3, to: 8 }],
      trimmed: [{ topic: 'out', partition: 1, start: 77 }],
      values: {
        ...values({ memory: 2 }),
        different: { count: 1, examples: ['out/0/1: its value is 00'] },
        notes: ['so it is'],
      },
    })
    for (const line of [
      /^lost: in\/2\/1841$/m,
      /^lost: and 1,199 more$/m,
      /^open transaction: g\.in\.2$/m,
      /^different value: out\/0\/1: its value is 00$/m,
      /^out\/2 could not be read from offset 5 to 9: a transaction is open there/m,
      /^in\/0 lost records while it was read: reading went on at offset 8 instead of 3\.$/m,
      /^out\/1 begins at offset 77: /m,
      /^so it is$/m,
      /^Not exactly once: 1,200 lost, 1 with another value, 1 open transaction, 1 partition not read; 2 values could not be compared\.$/m,
    ]) {
      assert.match(text, line)
    }
  })
})

suite('the last sentence', () => {
  const last = (verdict: Partial<AuditVerdict>) => report(verdict).split('\n').at(-1)!

  test('says so where no input record was judged', () => {
    assert.equal(last({ inputs: 0 }), 'No input record was judged.')
  })

  test('asks about a group that has no offset', () => {
    const asked = 'Group g has never committed an offset of in, or Kafka has forgotten it: is GROUP_ID right?'
    assert.equal(last({ clean: false, committed: [-1, -1] }), asked)
    assert.doesNotMatch(last({ committed: [-1, 3] }), /never/)
  })

  test('tells offsets that are astray from faults', () => {
    const lost = { count: 1, examples: [] }
    const strayOffsets = [
      { partition: 0, offset: 7_000, end: 2_596 },
      { partition: 1, offset: 5, end: 9, deletedTopicId: 'old' },
    ]
    const verdict = { clean: false, strayOffsets, faults: { ...NO_FAULTS, lost } }
    assert.match(
      last(verdict),
      /^The group’s offset of in\/0 is 7,000, but .* 2,596: .* astray\. Not exactly once: 1 lost\.$/,
    )
    assert.match(report(verdict), /^stray offsets +2 /m)
    assert.match(report(verdict), /^stray offset: in\/0, 7000: past the end of the log, 2596$/m)
    assert.match(report(verdict), /^stray offset: in\/1, 5: of a deleted topic, id old$/m)
  })
})

suite('the report of values', () => {
  test('says how many were equal, and to the bit', () => {
    const text = report({ values: values({}) })
    assert.match(text, /^values equal +5 .* predicts the same, to the bit 3 times$/m)
    assert.match(text, /^values unchecked +0 /m)
    assert.match(text, /\n\nEvery input record is reflected exactly once\.$/)
  })

  test('does not call right what could not be compared, and says why it could not', () => {
    const text = report({ clean: false, values: values({ version: 100, undecodable: 1 }) })
    assert.match(text, /^values unchecked +101 /m)
    assert.match(text, /^ {2}version +100 {2}the model version/m)
    assert.match(text, /^ {2}undecodable +1 /m)
    assert.doesNotMatch(text, /memory|exactly once/)
    assert.match(text, /\n\nNot known to be right: no fault was found, but 101 of 106 values could not be compared\.$/)
  })
})

suite('progress', () => {
  const SECOND = 1_000

  test('on a terminal is a bar that is drawn over, with rate and time left', async () => {
    const clock = new FakeClock()
    const written: string[] = []
    const line = new ProgressLine({ isTTY: true, columns: 80, write: text => written.push(text) }, clock)
    await clock.advance(2 * SECOND)
    line.show(500, 2_000, ', 1 fault')
    assert.equal(written[0], '\r[######..................] 25 % of 2,000 records, 250/s, 6 s left, 1 fault\x1b[K')
    line.note('lost: in/0/1')
    assert.deepEqual(written.slice(1), ['\r\x1b[K', 'lost: in/0/1\n'])
    line.clear()
    assert.equal(written.length, 3, 'nothing to take away')
  })

  test('a terminal that does not know its size gets the whole line', () => {
    const written: string[] = []
    new ProgressLine({ isTTY: true, columns: 0, write: text => written.push(text) }, new FakeClock()).show(0, 9, '')
    assert.equal(written[0], '\r[........................] 0 % of 9 records, 0/s\x1b[K')
  })

  test('elsewhere is a line every few seconds', async () => {
    const clock = new FakeClock()
    const written: string[] = []
    const line = new ProgressLine({ write: text => written.push(text) }, clock)
    for (let second = 0; second < 12; second++) {
      line.show(second * 100_000, 100_000_000, '')
      await clock.advance(SECOND)
    }
    assert.deepEqual(written, [
      '0 % of 100,000,000 records, 100,000/s, 17 min left\n',
      '1 % of 100,000,000 records, 100,000/s, 17 min left\n',
    ])
  })
})
