import type { ModelIdentity } from '../../src/core/transaction.ts'
import type { Batcher } from '../../src/pipeline/batcher.ts'
import { type ServedVersion, type Serving, servingOf } from '../../src/pipeline/serving.ts'
import type { LivePlan } from '../../src/serving/served-versions.ts'
import { type FakeDecoder, textEncoder } from '../pipeline/fake-codec.ts'

/** The versions of a replica of the simulation: all are ready from the beginning, and none is ever closed. */
export class SimVersions {
  readonly retired: readonly ServedVersion[] = []
  readonly #versions: ReadonlyMap<string, ServedVersion>
  readonly #model: Omit<ModelIdentity, 'provider'>
  #serving: Serving | undefined

  constructor(model: Omit<ModelIdentity, 'provider'>, batchers: ReadonlyMap<string, Batcher>, decoder: FakeDecoder) {
    this.#model = model
    this.#versions = new Map(
      [...batchers].map(([name, batcher]) => [
        name,
        { name, sha256: model.sha256, decoder, encoder: textEncoder, batcher },
      ]),
    )
  }

  get serving(): Serving {
    return this.#serving!
  }

  servingAt(): Serving {
    return this.serving
  }

  adopt({ plan, revision }: LivePlan): void {
    const named = { group: 'group', model: this.#model.name, revision }
    this.#serving = servingOf(plan, named, name => this.#versions.get(name)!)
  }

  retire(): boolean {
    return true
  }

  close(): void {}

  closeAll(): void {
    for (const { batcher } of this.#versions.values()) batcher.close()
  }
}
