import { createHash } from 'node:crypto'

const DIGITS = 12

/**
 * What a replay was asked for, in twelve hexadecimal digits. It goes into the metadata of each offset of its group, so that a
 * command with the same name and another request is told, instead of going on with what the first one began.
 */
export function requestTag(request: Readonly<Record<string, unknown>>): string {
  const fields = Object.entries(request).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, DIGITS)
}
