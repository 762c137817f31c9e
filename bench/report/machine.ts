import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'

/** On what something was measured. */
export interface Machine {
  readonly date: string
  readonly cores: number
  readonly processor: string
  readonly memoryGiB: number
  readonly node: string
  readonly kafka: string
}

export function thisMachine(): Machine {
  const pom = readFileSync(new URL('../../dev/kafka/pom.xml', import.meta.url), 'utf8')
  return {
    date: new Date().toISOString().slice(0, 10),
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    kafka: /<version>(4[^<]*)<\/version>/.exec(pom)?.[1] ?? 'unknown',
  }
}

/** In one line. */
export function describeMachine({ date, cores, processor, memoryGiB, node, kafka }: Machine): string {
  return `${date}; ${cores} cores (${processor}), ${memoryGiB} GiB; Node ${node}, Kafka ${kafka} on the same machine`
}
