import assert from 'node:assert/strict'
import { protocolType, typeOfCode } from '../../src/kafka/protocol-errors.ts'

/** What became of a request: `OK`, or the broker's name for its refusal. Throws what is no answer of a broker. */
export async function outcomeOf(request: Promise<unknown>): Promise<string> {
  try {
    await request
    return 'OK'
  } catch (error) {
    const type = protocolType(error)
    if (type === undefined) throw error
    return type
  }
}

/** The name of an error code within an answer; `OK` for none. */
export function nameOfCode(code: number): string {
  return typeOfCode(code) ?? 'OK'
}

/** For answers that depend on how far the broker has come: any of several is right. */
export function assertOneOf(actual: string, ...legal: readonly string[]): void {
  assert.ok(legal.includes(actual), `${actual} instead of ${legal.join(' or ')}`)
}
