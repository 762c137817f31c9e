import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { forgetAllBrokers, forgetBroker } from './cluster.ts'
import { isConnectionTrouble, isRefused, isStaleCoordinator, protocolType } from './protocol-errors.ts'

export type CoordinatorKind = 'group' | 'transaction'

const TYPE: Record<CoordinatorKind, 0 | 1> = { group: 0, transaction: 1 }

/**
 * The coordinator of a group or of a transactional id, looked up once and again when it says that it is none. (kafkajs
 * asks before every request, which doubles the round trips of a transaction.)
 */
export class Coordinator {
  readonly #cluster: KafkajsCluster
  readonly #kind: CoordinatorKind
  readonly #id: string
  readonly #clock: Clock
  #broker: KafkajsBroker | undefined

  constructor(cluster: KafkajsCluster, kind: CoordinatorKind, id: string, clock: Clock) {
    this.#cluster = cluster
    this.#kind = kind
    this.#id = id
    this.#clock = clock
  }

  /** What stands for the open connection over which the next request goes; undefined when there is none. */
  get connection(): unknown {
    return this.#broker === undefined ? undefined : connectionOf(this.#broker)
  }

  /** Looks it up anew before the next request. */
  forget(): void {
    this.#broker = undefined
  }

  /**
   * Sends a request. A clear refusal (still loading, moved, the last transaction not quite finished) is sent again until
   * `budgetMs` have passed: it was not carried out. Anything else is thrown as it came; a request that got no answer is
   * never sent again from here, because it may yet be carried out.
   */
  async send<T>(budgetMs: number, request: (broker: KafkajsBroker) => Promise<T>): Promise<T> {
    const backoff = new Backoff(2, 200)
    const deadline = this.#clock.now() + budgetMs
    for (;;) {
      try {
        return await request(await this.#find())
      } catch (error) {
        const type = protocolType(error)
        if (isConnectionTrouble(error)) await this.#drop()
        if (isStaleCoordinator(type)) this.forget()
        if (!isRefused(type) || this.#clock.now() >= deadline) throw error
        await this.#clock.sleep(backoff.next())
      }
    }
  }

  async #find(): Promise<KafkajsBroker> {
    if (this.#broker === undefined) {
      await this.#cluster.connect()
      await this.#cluster.refreshMetadataIfNecessary()
      this.#broker = await this.#cluster.findGroupCoordinator({ groupId: this.#id, coordinatorType: TYPE[this.#kind] })
    }
    return this.#broker
  }

  /** A connection that gave no answer may be half open: the coordinator's, or that of whoever was asked for it. */
  async #drop(): Promise<void> {
    const broker = this.#broker
    this.forget()
    if (broker === undefined) await forgetAllBrokers(this.#cluster)
    else await forgetBroker(this.#cluster, broker)
  }
}

/** What stands for the open connection of a broker to which requests go one by one; undefined when there is none. */
export function connectionOf({ connectionPool }: KafkajsBroker): unknown {
  const connection = connectionPool.pool[0]!
  return connection.isConnected() ? connection.socket : undefined
}
