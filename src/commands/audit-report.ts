import {
  type Example,
  FAULT_KINDS,
  type FaultKind,
  placeText,
  UNCHECKED_REASONS,
  type UncheckedReason,
} from '../audit/verdict.ts'
import type { AuditVerdict, StrayOffset } from '../auditing/audit-contract.ts'
import { grouped } from './progress-line.ts'

const KINDS = Object.keys(FAULT_KINDS) as FaultKind[]
const REASONS = Object.keys(UNCHECKED_REASONS) as UncheckedReason[]

/** The names that the report is about. */
export interface ReportSubject {
  readonly groupId: string
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
}

/** The report for people: counts, then the cases that are named, then what limits the verdict, then the verdict. */
export function formatReport(verdict: AuditVerdict, subject: ReportSubject): string {
  const { groupId, inputTopic, outputTopic, deadLetterTopic } = subject
  const title = `Group ${groupId}: ${inputTopic} -> ${outputTopic}, dead letters in ${deadLetterTopic}`
  const sections = [
    [title],
    table(verdict),
    named(verdict, inputTopic),
    limits(verdict),
    [conclusion(verdict, subject)],
  ]
  return sections
    .filter(section => section.length > 0)
    .map(section => section.join('\n'))
    .join('\n\n')
}

/** One case, on one line. */
export function formatExample(kind: FaultKind, { input, seen, detail }: Example): string {
  const where = input === undefined ? 'an output' : placeText(input)
  const place = seen === undefined ? '' : ` in ${placeText(seen)}`
  return `${kind}: ${where}${place}${detail === '' ? '' : `: ${detail}`}`
}

/** The last sentences: what is wrong, in a few words, or that nothing is, or that nothing is known. */
export function conclusion(verdict: AuditVerdict, subject: ReportSubject): string {
  const doubts = offsetDoubts(verdict, subject)
  const judged = judgement(verdict)
  if (doubts.length === 0) return judged ?? whatHolds(verdict)
  return [...doubts, ...(judged === undefined ? [] : [judged])].join(' ')
}

/** Why the group's offsets say nothing about the input, a sentence each. */
function offsetDoubts({ committed, strayOffsets }: AuditVerdict, { groupId, inputTopic }: ReportSubject): string[] {
  if (committed.every(offset => offset < 0)) {
    return [
      `Group ${groupId} has never committed an offset of ${inputTopic}, or Kafka has forgotten it: is GROUP_ID right?`,
    ]
  }
  const [first, ...others] = strayOffsets
  if (first === undefined) return []
  const more = others.length === 0 ? [] : [`${countOf(others.length, 'more offset')} went astray.`]
  return [strayText(first, inputTopic), ...more]
}

function strayText({ partition, offset, end, deletedTopicId }: StrayOffset, inputTopic: string): string {
  const name = `The group’s offset of ${inputTopic}/${partition}`
  if (deletedTopicId === undefined) {
    return `${name} is ${grouped(offset)}, but the log ends at ${grouped(end)}: it was set by hand, or the log has lost its end.`
  }
  return `${name} belongs to a topic that was deleted (id ${deletedTopicId}): outputs made from it name the same places as records of the new one and cannot be told apart.`
}

/** What is wrong, or not known; undefined where nothing is. */
function judgement(verdict: AuditVerdict): string | undefined {
  const { values } = verdict
  const wrong = faultSummary(verdict)
  const unchecked = values?.unchecked.count ?? 0
  if (wrong !== undefined) {
    const besides = unchecked === 0 ? '' : `; ${countOf(unchecked, 'value')} could not be compared`
    return `Not exactly once: ${wrong}${besides}.`
  }
  if (values !== undefined && unchecked > 0) {
    const all = values.equal + unchecked
    return `Not known to be right: no fault was found, but ${grouped(unchecked)} of ${countOf(all, 'value')} could not be compared.`
  }
  return undefined
}

function whatHolds({ inputs, pending, atWork }: AuditVerdict): string {
  if (inputs === 0) return `No input record was judged.${atWork ? ' The group is at work.' : ''}`
  const done = pending === 0 ? 'Every input record' : 'Every input record that the group has come to'
  return `${done} is reflected exactly once.${atWork ? ' The group is at work.' : ''}`
}

const countOf = (count: number, noun: string) => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`

/** `2 lost, 1 doubled`; undefined where nothing is wrong. */
function faultSummary(verdict: AuditVerdict): string | undefined {
  const { openTransactions, unread, values } = verdict
  const parts = KINDS.map(kind => ({ count: verdict.faults[kind].count, name: kind as string })).concat(
    { count: values?.different.count ?? 0, name: 'with another value' },
    { count: openTransactions.length, name: openTransactions.length === 1 ? 'open transaction' : 'open transactions' },
    { count: unread.length, name: unread.length === 1 ? 'partition not read' : 'partitions not read' },
  )
  const found = parts.filter(({ count }) => count > 0).map(({ count, name }) => `${grouped(count)} ${name}`)
  return found.length === 0 ? undefined : found.join(', ')
}

function table(verdict: AuditVerdict): string[] {
  const { inputs, predictions, deadLetters, pending, outside, faults, strayOffsets, openTransactions, unread, values } =
    verdict
  const hidden = unread.length === 0 ? '' : ', or whose outputs are hidden'
  const rows: [name: string, count: number, meaning: string][] = [
    ['input records', inputs, ''],
    ['predictions', predictions, ''],
    ['dead letters', deadLetters, ''],
    ['pending', pending, `input records that the group has not come to yet${hidden}`],
  ]
  if (outside > 0) rows.push(['outside', outside, 'outputs for records that are not in the range, not judged'])
  for (const kind of KINDS) rows.push([kind, faults[kind].count, FAULT_KINDS[kind]])
  if (strayOffsets.length > 0)
    rows.push(['stray offsets', strayOffsets.length, 'committed offsets that are no places in the input as it is now'])
  rows.push(['open transactions', openTransactions.length, 'left behind: readers wait until the broker ends them'])
  if (values !== undefined) {
    const { equal, identical, different, unchecked } = values
    rows.push([
      'values equal',
      equal,
      `the model that the headers name predicts the same, to the bit ${grouped(identical)} times`,
    ])
    rows.push(['values different', different.count, 'it predicts something else'])
    rows.push(['values unchecked', unchecked.count, 'that nothing is known of'])
    for (const reason of REASONS) {
      if (unchecked.reasons[reason] > 0)
        rows.push([`  ${reason}`, unchecked.reasons[reason], UNCHECKED_REASONS[reason]])
    }
  }
  const width = Math.max(...rows.map(([, count]) => grouped(count).length))
  return rows.map(([name, count, meaning]) =>
    `${name.padEnd(18)}${grouped(count).padStart(width)}  ${meaning}`.trimEnd(),
  )
}

function named(verdict: AuditVerdict, inputTopic: string): string[] {
  const { faults, strayOffsets, openTransactions, values } = verdict
  const lines = KINDS.flatMap(kind => {
    const { count, examples } = faults[kind]
    const more = count > examples.length ? [`${kind}: and ${grouped(count - examples.length)} more`] : []
    return [...examples.map(example => formatExample(kind, example)), ...more]
  })
  for (const { partition, offset, end, deletedTopicId } of strayOffsets) {
    const why =
      deletedTopicId === undefined ? `past the end of the log, ${end}` : `of a deleted topic, id ${deletedTopicId}`
    lines.push(`stray offset: ${inputTopic}/${partition}, ${offset}: ${why}`)
  }
  lines.push(...openTransactions.map(id => `open transaction: ${id}`))
  lines.push(...(values?.different.examples ?? []).map(text => `different value: ${text}`))
  return lines
}

/** What the verdict does not cover, and what may have made it worse than it is. */
function limits(verdict: AuditVerdict): string[] {
  const { unread, gaps, trimmed, faults, values } = verdict
  const lines = unread.map(({ topic, partition, position, end }) => {
    return `${topic}/${partition} could not be read from offset ${position} to ${end}: a transaction is open there. Records may be lost behind it.`
  })
  for (const { topic, partition, from, to } of gaps) {
    lines.push(
      `${topic}/${partition} lost records while it was read: reading went on at offset ${to} instead of ${from}.`,
    )
  }
  if (faults.lost.count > 0) {
    for (const { topic, partition, start } of trimmed) {
      lines.push(
        `${topic}/${partition} begins at offset ${start}: inputs whose outputs were deleted before look lost. --from leaves them out.`,
      )
    }
  }
  if (values !== undefined) lines.push(...values.notes)
  return lines
}
