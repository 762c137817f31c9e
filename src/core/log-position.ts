import { SluiceError } from './errors.ts'

/** A place in every partition of a topic, as people name it. */
export type LogPosition =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  /** The first record that is at least this old, in milliseconds since the epoch. */
  | { readonly kind: 'time'; readonly timestamp: number }
  /** By partition. */
  | { readonly kind: 'offsets'; readonly offsets: ReadonlyMap<number, number> }

/** A date, or a date and a time; without a zone it is UTC. */
const ISO = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/i
const OFFSET = /^(\d+)=(\d+)$/

/**
 * Reads `earliest`, `latest`, an ISO time, or `offset:P=N,…`.
 * @throws SluiceError `invalid-config` that names `option`, what was given, and what is allowed
 */
export function parseLogPosition(option: string, text: string): LogPosition {
  const position = read(text.trim())
  if (position !== undefined) return position
  const given = JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text)
  const allowed = 'earliest, latest, an ISO time such as 2026-11-23T04:05:06Z, or offset:PARTITION=OFFSET,…'
  throw new SluiceError('invalid-config', `${option} is ${given}, but must be ${allowed}`)
}

function read(text: string): LogPosition | undefined {
  if (text === 'earliest' || text === 'latest') return { kind: text }
  if (text.startsWith('offset:')) return readOffsets(text.slice('offset:'.length))
  const match = ISO.exec(text)
  if (match === null) return undefined
  const utc = text.length > 10 && match[1] === undefined ? `${text}Z` : text
  const timestamp = Date.parse(utc.replace(' ', 'T'))
  return Number.isNaN(timestamp) ? undefined : { kind: 'time', timestamp }
}

function readOffsets(text: string): LogPosition | undefined {
  const offsets = new Map<number, number>()
  for (const item of text.split(',')) {
    const match = OFFSET.exec(item.trim())
    if (match === null) return undefined
    const [partition, offset] = [Number(match[1]), Number(match[2])]
    if (!Number.isSafeInteger(offset) || offsets.has(partition)) return undefined
    offsets.set(partition, offset)
  }
  return { kind: 'offsets', offsets }
}
