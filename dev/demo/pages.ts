import type { Audit } from './audit.ts'
import { type DemoAnswer, header, type PredictionDecoder } from './prediction.ts'
import { count, type Screen } from './screen.ts'
import type { DemoNames } from './topics.ts'

/** What a run of the demo found; the object that `--json` prints. Times are in milliseconds. */
export interface DemoResult extends Audit {
  readonly seed: number
  /** Each was started, the last one was killed on the way. */
  readonly replicas: readonly string[]
  /** Exit codes of the replicas that were asked to stop, by name: `exit code 0`. */
  readonly exits: Readonly<Record<string, string>>
  /** How long the dead replica's partitions stood still; null if no record came to tell. */
  readonly pauseMs: number | null
  /** The most answers that arrived within one second. */
  readonly busiestSecond: number
  /** From a record's timestamp until the reader had its answer, in the steady stream; null without one. */
  readonly latencyMs: { readonly p50: number; readonly p99: number } | null
  /** From the first record sent until the last answer was read. */
  readonly durationMs: number
}

const LABEL_COLUMNS = 11
const WIDTH = 80

/** What is about to happen. */
export function titlePage(screen: Screen): void {
  screen.line(screen.style('bold', 'Sluice: a model answers every record on Kafka, exactly once, even in a crash'), '')
}

/** A line of the story: a mark, a label, and text that is wrapped beside it. */
export function step(screen: Screen, mark: '✔' | '✖', label: string, ...texts: readonly string[]): void {
  const colour = mark === '✔' ? 'green' : 'red'
  const [first, ...rest] = texts.flatMap(text => wrap(text, WIDTH - LABEL_COLUMNS - 2))
  const indent = ' '.repeat(LABEL_COLUMNS + 2)
  const head = `${screen.style(colour, mark)} ${screen.style('bold', label.padEnd(LABEL_COLUMNS))}${first}`
  screen.line(head, ...rest.map(line => indent + line))
}

/** A few predictions, one of them in full, and a dead letter. */
export function answersPage(
  screen: Screen,
  answers: readonly DemoAnswer[],
  decoder: PredictionDecoder,
  classes: readonly string[],
  names: DemoNames,
): void {
  const predictions = samplePredictions(answers, decoder)
  heading(screen, 'A few predictions', `on ${names.output}; each class with its probability`)
  screen.line(
    ...predictionTable(predictions, decoder, classes).map((line, i) => (i ? line : screen.style('dim', line))),
  )
  const [prediction] = predictions
  if (prediction !== undefined) {
    heading(screen, 'One of them in full', 'its headers say where it comes from and which model spoke')
    screen.line(...recordLines(prediction, predictionText(prediction, decoder)))
  }
  const letter = answers.find(({ outcome, message }) => outcome === 'feature-not-finite' && message !== undefined)
  if (letter === undefined) return
  heading(screen, 'A dead letter', 'a broken record stops nobody: it comes here with the reason')
  screen.line(...recordLines(letter, `${letter.message!.value?.length ?? 0} bytes, as they came`))
}

/** The end of the demo: every record accounted for, and how quickly. */
export function auditPage(screen: Screen, result: DemoResult, steadyRate: number): void {
  heading(screen, 'Audit', 'what was sent, against what a read_committed consumer has read')
  const deadLetters = Object.values(result.deadLetters).reduce((sum, n) => sum + n, 0)
  const row = (label: string, value: string, note = '') =>
    `  ${label.padEnd(16)}${value.padStart(10)}${note && `   ${screen.style('dim', note)}`}`
  const zero = (label: string, n: number, note: string) => {
    const text = row(label, count(n), note)
    return n === 0 ? text : screen.style(['red', 'bold'], text)
  }
  screen.line(row('records in', count(result.recordsIn)))
  screen.line(row('predictions', count(result.predictions)))
  screen.line(row('dead letters', count(deadLetters), 'by error code:'))
  for (const [code, n] of Object.entries(result.deadLetters))
    screen.line(row('', '', `${String(n).padStart(4)} ${code}`))
  screen.line(
    zero('lost', result.lost, 'records without an answer'),
    zero('doubled', result.doubled, 'second answers to a record'),
    zero('out of order', result.misordered, 'answers behind a later one of their partition'),
    zero('wrong', result.wrong, 'another outcome, key, time or partition than due'),
    zero('unexpected', result.unexpected, 'answers to nothing that was sent'),
  )
  screen.line('', row('records/s', count(result.busiestSecond), 'answers in the busiest second, on this machine'))
  const { latencyMs } = result
  if (latencyMs !== null) {
    const value = `${latencyMs.p50} / ${latencyMs.p99}`
    screen.line(
      row('latency, ms', value, `median / p99, from the record's timestamp until`),
      row('', '', `the reader had its answer, at ${count(steadyRate)} records/s`),
    )
  }
  screen.line(row('replicas', String(result.replicas.length), 'one of them killed on the way'), '')
  screen.line(...verdict(screen, result))
}

function verdict(screen: Screen, { passed, examples, recordsIn, replicas }: DemoResult): string[] {
  if (!passed) {
    const title = screen.style(['red', 'bold'], '✖ The audit failed. Examples:')
    return [title, ...examples.map(example => `  ${example}`)]
  }
  const title = `✔ ${count(recordsIn)} records, ${count(recordsIn)} answers, although replica ${replicas.at(-1)} was killed.`
  return [
    screen.style(['green', 'bold'], title),
    '  Next: your own model in its place. See README.md, "Your own model".',
  ]
}

function heading(screen: Screen, title: string, explanation: string): void {
  screen.line('', `${screen.style('bold', title)} ${screen.style('dim', `· ${explanation}`)}`)
}

/** Of each class the first prediction that was kept, and the one that the model was least sure of. */
function samplePredictions(answers: readonly DemoAnswer[], decoder: PredictionDecoder): DemoAnswer[] {
  const byClass = new Map<number, { answer: DemoAnswer; sure: number }[]>()
  for (const answer of answers) {
    if (answer.outcome !== 'prediction' || !answer.message?.value) continue
    const { label, probabilities } = decoder.decode(answer.message.value)
    const own = byClass.get(label) ?? []
    own.push({ answer, sure: Math.max(...probabilities) })
    byClass.set(label, own)
  }
  return [...byClass]
    .sort(([a], [b]) => a - b)
    .flatMap(([, own]) => {
      const [first, ...others] = own
      others.sort((a, b) => a.sure - b.sure)
      return [first!, ...others.slice(0, 1)].map(({ answer }) => answer)
    })
}

/** The first line has the names of the columns. */
export function predictionTable(
  answers: readonly DemoAnswer[],
  decoder: PredictionDecoder,
  classes: readonly string[],
): string[] {
  const head = ['partition', 'offset', 'flower', 'species', ...classes]
  const rows = answers.map(answer => {
    const { label, probabilities } = decoder.decode(answer.message!.value!)
    const shares = probabilities.map(share => share.toFixed(3))
    return [String(answer.partition), String(answer.offset), answer.key, classes[label] ?? String(label), ...shares]
  })
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map(row => row[i]!.length)))
  const isText = (column: number) => column === 2 || column === 3
  const format = (row: readonly string[]) =>
    row.map((cell, i) => (isText(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')
  return [head, ...rows].map(row => `  ${format(row)}`.trimEnd())
}

function predictionText({ message }: DemoAnswer, decoder: PredictionDecoder): string {
  const { label, probabilities } = decoder.decode(message!.value!)
  return `Avro {label: ${label}, probabilities: [${probabilities.map(p => p.toFixed(3)).join(', ')}]}`
}

/** Key, value, and every header but the demo's own. */
function recordLines({ key, message }: DemoAnswer, value: string): string[] {
  const headers = Object.keys(message!.headers ?? {}).filter(name => name !== 'record')
  const rows = [['key', key], ['value', value], ...headers.map(name => [name, header(message!.headers, name)!])]
  const indent = 22
  return rows.flatMap(([name, text]) => {
    const [first, ...rest] = wrap(text!, WIDTH - indent)
    return [`  ${name!.padEnd(indent - 2)}${first ?? ''}`, ...rest.map(line => ' '.repeat(indent) + line)]
  })
}

/** Breaks text at spaces into lines of at most `width` characters; a longer word stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}
