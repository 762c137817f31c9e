import { readFileSync, writeFileSync } from 'node:fs'
import { percentile } from './statistics.ts'

/** What a run of one fault showed. Counts of faults are zero where the promise holds. */
export interface FaultResult {
  readonly fault: string
  readonly what: string
  readonly strikes: number
  readonly seed: number
  /** Records of the input topic, and what they became. */
  readonly records: number
  readonly predictions: number
  readonly deadLetters: number
  /** Transactions, and tasks that found another owner, as the workers' metrics had them when last asked: a killed worker's last ones are missing. */
  readonly transactions: { readonly committed: number; readonly aborted: number; readonly fenced: number }
  readonly lost: number
  readonly doubled: number
  readonly misordered: number
  /** Values that are not the row's, bad records that were predicted, good ones that are dead letters. */
  readonly wrong: number
  /** Torn, foreign, vanished, left open: whatever else the oracle found. */
  readonly otherFaults: number
  /** Examples, when there are any. */
  readonly examples: readonly string[]
  /** One a strike, in milliseconds. */
  readonly recoveryMs: readonly number[]
  readonly limitMs?: number | undefined
  readonly seconds: number
  readonly date: string
  readonly versions: { readonly sluice: string; readonly kafka: string; readonly node: string }
}

/** Whether the promises hold: nothing lost, doubled or out of order, and recovery in time. */
export function holds(result: FaultResult): boolean {
  const { lost, doubled, misordered, wrong, otherFaults } = result
  return lost + doubled + misordered + wrong + otherFaults === 0 && lateness(result) === ''
}

const FILE = new URL('../docs/reliability.json', import.meta.url)

/** The last recorded result of each fault, in the order of the catalogue as it was then. */
export function recordedResults(): FaultResult[] {
  return JSON.parse(readFileSync(FILE, 'utf8')) as FaultResult[]
}

/** Puts a result in the place of the recorded one of the same fault; `order` is that of all faults. */
export function record(result: FaultResult, order: readonly string[]): void {
  const others = recordedResults().filter(({ fault }) => fault !== result.fault)
  const place = ({ fault }: FaultResult) => order.indexOf(fault)
  write([...others, result].sort((a, b) => place(a) - place(b)))
}

/** A fault that could not be brought to its end has no result, also no former one. */
export function forget(fault: string): void {
  write(recordedResults().filter(result => result.fault !== fault))
}

function write(results: readonly FaultResult[]): void {
  writeFileSync(FILE, `${JSON.stringify(results, null, 2)}\n`)
}

/** What there is to say of a recovery that took longer than promised, or nothing. */
export function lateness({ recoveryMs, limitMs }: FaultResult): string {
  const p99 = percentile(recoveryMs, 0.99) ?? 0
  if (limitMs === undefined || p99 <= limitMs) return ''
  return `; recovery p99 ${(p99 / 1000).toFixed(1)} s, promised ≤ ${(limitMs / 1000).toFixed(1)} s`
}

const HEAD = [
  'fault',
  'strikes',
  'records',
  'lost',
  'doubled',
  'misordered',
  'wrong',
  'other',
  'transactions committed / aborted / fenced',
  'recovery p50 / p99 / max, s',
  'promised',
  'seed',
]

/** A Markdown table, a row for each fault. */
export function resultTable(results: readonly FaultResult[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(HEAD), line(HEAD.map(() => '---')), ...results.map(result => line(cells(result)))].join('\n')
}

function cells(result: FaultResult): string[] {
  const { transactions: t, recoveryMs, limitMs } = result
  const seconds = (ms: number | undefined) => (ms === undefined ? '–' : (ms / 1000).toFixed(1))
  const recovery = [0.5, 0.99, 1].map(p => seconds(percentile(recoveryMs, p)))
  return [
    `**${result.fault}**: ${result.what}`,
    number(result.strikes),
    number(result.records),
    number(result.lost),
    number(result.doubled),
    number(result.misordered),
    number(result.wrong),
    number(result.otherFaults),
    [t.committed, t.aborted, t.fenced].map(number).join(' / '),
    recovery.join(' / '),
    limitMs === undefined ? '–' : `≤ ${seconds(limitMs)}`,
    String(result.seed),
  ]
}

const number = (value: number) => value.toLocaleString('en-US')
