import assert from 'node:assert/strict'
import { type Header, headerText, type LogRecord, sourceOf } from './record-log.ts'

/** What became of the input. Each list is empty when all is well; entries say which record and what is wrong with it. */
export interface Audit {
  /** Sources that no output names. */
  readonly lost: readonly string[]
  /** Sources that more than one output names. */
  readonly doubled: readonly string[]
  /** Outputs without a source, or with one that is no input. */
  readonly foreign: readonly string[]
  /** Outputs of an input partition that come after a later one of it in the same output partition. */
  readonly misordered: readonly string[]
  /** Outputs whose key, timestamp, headers or, for dead letters, value are not the input's. */
  readonly altered: readonly string[]
}

const PREDICTION_HEADERS = ['model-name', 'model-version', 'model-sha256', 'execution-provider', 'source']
const DEAD_LETTER_HEADERS = ['error-code', 'error-message', 'error-stage', 'failed-at', 'source']
const MODEL_REACHED = ['model-name', 'model-version']

/**
 * Compares all records of an input topic with all predictions and dead letters. Inputs must not have headers of the
 * names that predictions have; each list of records must be in offset order within its partitions.
 */
export function audit(
  inputs: readonly LogRecord[],
  predictions: readonly LogRecord[],
  deadLetters: readonly LogRecord[],
): Audit {
  const bySource = new Map(inputs.map(input => [sourceOf(input), input]))
  const seen = new Set<string>()
  const result = { doubled: [] as string[], foreign: [] as string[], altered: [] as string[] }
  const check = (output: LogRecord, differences: (input: LogRecord, output: LogRecord) => string[]) => {
    const source = sourceHeader(output)
    const input = source === undefined ? undefined : bySource.get(source)
    if (source === undefined || input === undefined) return result.foreign.push(`${sourceOf(output)} names ${source}`)
    if (seen.has(source)) result.doubled.push(`${source}, again in ${sourceOf(output)}`)
    seen.add(source)
    result.altered.push(...differences(input, output).map(what => `${what} of ${source} in ${sourceOf(output)}`))
  }
  for (const prediction of predictions) check(prediction, predictionDifferences)
  for (const deadLetter of deadLetters) check(deadLetter, deadLetterDifferences)
  const lost = [...bySource.keys()].filter(source => !seen.has(source))
  return { ...result, lost, misordered: [...misordered(predictions), ...misordered(deadLetters)] }
}

/** Fails, with the counts and a few examples, unless every record is accounted for exactly once, in order and unaltered. */
export function assertExactlyOnce(found: Audit): void {
  assertNone(found, ['lost', 'doubled', 'foreign', 'misordered', 'altered'])
}

/** Fails unless nothing is lost, made up or altered; repeats and their order are allowed. */
export function assertAtLeastOnce(found: Audit): void {
  assertNone(found, ['lost', 'foreign', 'altered'])
}

function assertNone(found: Audit, kinds: readonly (keyof Audit)[]): void {
  const examples = kinds.flatMap(kind => found[kind].slice(0, 3).map(what => `${kind}: ${what}`))
  const counts = kinds.map(kind => `${found[kind].length} ${kind}`).join(', ')
  assert.ok(examples.length === 0, `${counts}\n${examples.join('\n')}`)
}

/** The first output of each source, in the order given: what a consumer that deduplicates sees. */
export function firstOccurrences(outputs: readonly LogRecord[]): LogRecord[] {
  const seen = new Set<string | undefined>()
  return outputs.filter(output => {
    const source = sourceHeader(output)
    return !seen.has(source) && seen.add(source)
  })
}

/** Outputs that break the order of their input partition within their own partition. */
export function misordered(outputs: readonly LogRecord[]): string[] {
  const last = new Map<string, number>()
  const wrong: string[] = []
  for (const output of outputs) {
    const [topic, partition, offset] = (sourceHeader(output) ?? '//').split('/')
    const lane = `${topic}/${partition} in ${output.partition}`
    const before = last.get(lane) ?? -1
    if (Number(offset) < before) wrong.push(`${offset} after ${before} of ${lane}`)
    last.set(lane, Number(offset))
  }
  return wrong
}

function predictionDifferences(input: LogRecord, output: LogRecord): string[] {
  const own = output.headers.slice(input.headers.length).map(([name]) => name)
  const known = sameSet(own, PREDICTION_HEADERS) || sameSet(own, [...PREDICTION_HEADERS, 'model-arm'])
  return [
    ...commonDifferences(input, output),
    ...(known ? [] : [`own headers (${own})`]),
    ...(output.value === null ? ['value, which is null,'] : []),
  ]
}

function deadLetterDifferences(input: LogRecord, output: LogRecord): string[] {
  const own = output.headers.slice(input.headers.length).map(([name]) => name)
  const known = sameSet(own, DEAD_LETTER_HEADERS) || sameSet(own, [...DEAD_LETTER_HEADERS, ...MODEL_REACHED])
  return [
    ...commonDifferences(input, output),
    ...(known ? [] : [`own headers (${own})`]),
    ...(sameBytes(input.value, output.value) ? [] : ['value']),
  ]
}

function commonDifferences(input: LogRecord, output: LogRecord): string[] {
  const differences: string[] = []
  if (!sameBytes(input.key, output.key)) differences.push('key')
  if (input.timestamp !== output.timestamp) differences.push('timestamp')
  if (!input.headers.every((header, at) => sameHeader(header, output.headers[at]))) differences.push('headers')
  return differences
}

/** The header `source`, undefined unless there is exactly one. */
function sourceHeader(output: LogRecord): string | undefined {
  try {
    return headerText(output, 'source')
  } catch {
    return undefined
  }
}

function sameHeader([name, value]: Header, other: Header | undefined): boolean {
  return other !== undefined && name === other[0] && sameBytes(value, other[1])
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b)
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && b.every(name => a.includes(name))
}
