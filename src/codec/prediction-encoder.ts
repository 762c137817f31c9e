import type { PredictionEncoder } from '../core/codec.ts'
import type { OutputSpec } from '../core/model.ts'
import { AvroEncoder } from './avro-encoder.ts'
import { JsonEncoder } from './json-encoder.ts'
import type { WireFormat } from './wire-format.ts'

/**
 * An encoder of predictions; columns come in the order of `outputs`. The Avro formats write what `predictionSchema`
 * says; `schemaId` is its id, which only the framed one (`avro`) writes.
 */
export function createPredictionEncoder(
  format: WireFormat,
  outputs: readonly OutputSpec[],
  schemaId: number,
): PredictionEncoder {
  switch (format) {
    case 'avro':
      return new AvroEncoder(outputs, schemaId)
    case 'avro-raw':
      return new AvroEncoder(outputs, undefined)
    case 'json':
      return new JsonEncoder(outputs)
  }
}
