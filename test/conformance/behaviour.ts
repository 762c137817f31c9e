import type { Stage } from './stage.ts'

/** Something that Kafka does, said in a sentence, and how to see it. */
export interface Behaviour {
  readonly name: string
  run(stage: Stage): Promise<void>
}

export function behaviour(name: string, run: (stage: Stage) => Promise<void>): Behaviour {
  return { name, run }
}
