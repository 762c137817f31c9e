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
  const { lost, doubled, misordered, otherFaults, recoveryMs, limitMs } = result
  const late = limitMs !== undefined && (percentile(recoveryMs, 0.99) ?? 0) > limitMs
  return lost + doubled + misordered + otherFaults === 0 && !late
}

const FILE = new URL('../docs/reliability.json', import.meta.url)

/** The last recorded result of each fault, in the order of the catalogue as it was then. */
export function recordedResults(): FaultResult[] {
  return JSON.parse(readFileSync(FILE, 'utf8')) as FaultResult[]
}

/** Puts results in the place of the recorded ones of the same faults; `order` is the order of all faults. */
export function record(results: readonly FaultResult[], order: readonly string[]): void {
  const byFault = new Map([...recordedResults(), ...results].map(result => [result.fault, result]))
  const sorted = order.map(name => byFault.get(name)).filter(result => result !== undefined)
  writeFileSync(FILE, `${JSON.stringify(sorted, null, 2)}\n`)
}

const HEAD = [
  'fault',
  'strikes',
  'records',
  'lost',
  'doubled',
  'misordered',
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
    number(result.misordered + result.otherFaults),
    [t.committed, t.aborted, t.fenced].map(number).join(' / '),
    recovery.join(' / '),
    limitMs === undefined ? '–' : `≤ ${seconds(limitMs)}`,
    String(result.seed),
  ]
}

const number = (value: number) => value.toLocaleString('en-US')
