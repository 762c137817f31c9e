import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import avro from 'avsc'
import type { IHeaders, KafkaMessage } from 'kafkajs'
import type { Answer } from './audit.ts'

/** A prediction of the iris classifier, as its Avro value has it. */
export interface IrisPrediction {
  /** Number of the class. */
  readonly label: number
  /** One for each class, in the order of their numbers. */
  readonly probabilities: readonly number[]
}

/** An answer, when it arrived, and for a few of them the record itself. */
export interface DemoAnswer extends Answer<number> {
  /** Milliseconds since the epoch. */
  readonly arrivedAt: number
  readonly message?: KafkaMessage
}

/** The text of a header, its first if there are several; undefined when it is not there. */
export function header(headers: IHeaders | undefined, name: string): string | undefined {
  const value = headers?.[name]
  const first = Array.isArray(value) ? value[0] : value
  return first === undefined ? undefined : String(first)
}

/** What a record of the output or the dead-letter topic says about the record that it answers. */
export function toAnswer(topic: string, partition: number, message: KafkaMessage, arrivedAt: number): DemoAnswer {
  const { headers } = message
  const record = Number(header(headers, 'record') ?? Number.NaN)
  const [sourcePartition, sourceOffset] = (header(headers, 'source') ?? '').split('/').slice(-2).map(Number)
  return {
    id: Number.isInteger(record) ? record : undefined,
    outcome: header(headers, 'error-code') ?? 'prediction',
    key: String(message.key),
    timestamp: Number(message.timestamp),
    topic,
    partition,
    offset: Number(message.offset),
    source: { partition: sourcePartition ?? -1, offset: sourceOffset ?? -1 },
    arrivedAt,
  }
}

/** Decodes predictions in Confluent's framing with the schemas of a folder, in which `ids.json` maps ids to files. */
export class PredictionDecoder {
  readonly #folder: string
  readonly #types = new Map<number, avro.Type>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** @throws when the folder has no such schema or the value is not of it */
  decode(value: Buffer): IrisPrediction {
    const id = value.readInt32BE(1)
    const type = this.#types.get(id) ?? this.#load(id)
    return type.fromBuffer(value.subarray(5)) as IrisPrediction
  }

  #load(id: number): avro.Type {
    const ids = JSON.parse(readFileSync(join(this.#folder, 'ids.json'), 'utf8')) as Record<string, string>
    const file = ids[id]
    if (file === undefined) throw new Error(`${this.#folder} has no schema with the id ${id}.`)
    const type = avro.Type.forSchema(JSON.parse(readFileSync(join(this.#folder, file), 'utf8')))
    this.#types.set(id, type)
    return type
  }
}
