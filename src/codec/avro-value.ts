import { messageOf, type RecordFault } from '../core/errors.ts'
import type { TensorColumn } from '../core/tensor.ts'
import type { Cursor } from './cursor.ts'
import type { DecoderOptions } from './decoder-options.ts'
import { compilePlan } from './feature-plan.ts'
import type { Reader } from './union-reader.ts'
import { nameOfType, nodeOf, parseSchema } from './writer-schema.ts'

/**
 * Compiles a writer schema for the features of a model. Returns the fault that every record of this schema has when it
 * is no Avro record (`unusable-schema`) or does not have the features. `label` names the schema in messages.
 */
export function compileSchema(text: string, label: string, options: DecoderOptions): Reader | RecordFault {
  const unusable = (problem: string): RecordFault => ({ code: 'unusable-schema', message: `${label} ${problem}` })
  try {
    const node = nodeOf(parseSchema(text))
    if (node.kind !== 'record') return unusable(`is ${nameOfType(node.type)}; expected a record`)
    return compilePlan(node.fields, options.inputs, options.allowNonFinite)
  } catch (error) {
    return unusable(`cannot be used: ${messageOf(error)}`)
  }
}

/** Decodes one Avro record that takes exactly the bytes [from, to) of `bytes` into row `row` of `inputs`. */
export function decodeValue(
  read: Reader,
  cursor: Cursor,
  bytes: Buffer,
  from: number,
  to: number,
  row: number,
  inputs: readonly TensorColumn[],
): RecordFault | undefined {
  cursor.open(bytes, from, to, inputs)
  if (!read(cursor, row)) return cursor.fault()
  if (cursor.pos === to) return undefined
  return {
    code: 'trailing-bytes',
    message: `the Avro record ends after ${cursor.pos - from} bytes, but ${to - cursor.pos} more follow`,
  }
}
