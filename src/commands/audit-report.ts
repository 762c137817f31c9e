import { type Example, FAULT_KINDS, type FaultKind, placeText } from '../audit/verdict.ts'
import type { AuditVerdict } from '../auditing.ts'
import { grouped } from './progress-line.ts'

const KINDS = Object.keys(FAULT_KINDS) as FaultKind[]

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
  const sections = [[title], table(verdict), named(verdict), limits(verdict), [conclusion(verdict)]]
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

/** What is wrong in a few words: `2 lost, 1 doubled`; undefined where nothing is. */
export function faultSummary(verdict: AuditVerdict): string | undefined {
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
  const { inputs, predictions, deadLetters, pending, outside, faults, openTransactions, unread, values } = verdict
  const hidden = unread.length === 0 ? '' : ', or whose outputs are hidden'
  const rows: [name: string, count: number, meaning: string][] = [
    ['input records', inputs, ''],
    ['predictions', predictions, ''],
    ['dead letters', deadLetters, ''],
    ['pending', pending, `input records that the group has not come to yet${hidden}`],
  ]
  if (outside > 0) rows.push(['outside', outside, 'outputs for records that are not in the range, not judged'])
  for (const kind of KINDS) rows.push([kind, faults[kind].count, FAULT_KINDS[kind]])
  rows.push(['open transactions', openTransactions.length, 'that nobody is going to end'])
  if (values !== undefined) {
    rows.push(['values equal', values.equal, 'the model that the headers name predicts the same'])
    rows.push(['values different', values.different.count, 'it predicts something else'])
    rows.push(['values unchecked', values.unchecked, 'input and output lay too far apart to be compared'])
  }
  const width = Math.max(...rows.map(([, count]) => grouped(count).length))
  return rows.map(([name, count, meaning]) =>
    `${name.padEnd(18)}${grouped(count).padStart(width)}  ${meaning}`.trimEnd(),
  )
}

function named(verdict: AuditVerdict): string[] {
  const { faults, openTransactions, values } = verdict
  const lines = KINDS.flatMap(kind => {
    const { count, examples } = faults[kind]
    const more = count > examples.length ? [`${kind}: and ${grouped(count - examples.length)} more`] : []
    return [...examples.map(example => formatExample(kind, example)), ...more]
  })
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

function conclusion(verdict: AuditVerdict): string {
  if (!verdict.clean) return `Not exactly once: ${faultSummary(verdict)}.`
  const done = verdict.pending === 0 ? 'Every input record' : 'Every input record that the group has come to'
  return `${done} is reflected exactly once.${verdict.atWork ? ' The group is at work.' : ''}`
}
