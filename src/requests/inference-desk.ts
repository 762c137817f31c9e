import { metadataOf } from '../api/datatypes.ts'
import { parseInferRequest } from '../api/infer-request.ts'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { asSluiceError, SluiceError } from '../core/errors.ts'
import type { Admission, InferCall, InferenceApi, ModelMetadata } from '../core/inference-api.ts'
import type { ApiTelemetry } from '../core/telemetry.ts'
import { within } from '../core/waiting.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { ServedModel } from '../serving/serving.ts'
import { ApiVersion } from './api-version.ts'

export type ApiSettings = Pick<
  Settings,
  'apiDeadlineMs' | 'apiShare' | 'apiMaxBodyBytes' | 'apiMaxRows' | 'apiMaxWaiting' | 'apiMaxWaitingBytes'
>

interface InferenceDeskOptions {
  readonly settings: ApiSettings
  /** How long a free session may wait for a fuller batch of requests. */
  readonly maxQueueDelayMs: number
  readonly clock: Clock
  readonly metrics: Metrics
  /** Threads that rows of requests may leave hanging, for each version: see `SessionShares`. */
  readonly mostHung?: number
  /** What a version has to say of its sessions: see `ApiVersion`. */
  readonly onCondition: (model: ServedModel['spec'], error: SluiceError | undefined) => void
}

/** For requests that a version has when it is unloaded; sessions that are at fault may keep them for ever. */
const CLOSE_PATIENCE_MS = 30_000

interface DeskModel {
  readonly versions: Map<string, ApiVersion>
  /** The one that answers where none is named. */
  preferred: string | undefined
}

/** The models that requests over HTTP can ask, and the limits of how many may. */
export class InferenceDesk implements InferenceApi {
  readonly #options: InferenceDeskOptions
  readonly #models = new Map<string, DeskModel>()
  readonly #telemetry: ApiTelemetry
  #starting = true
  #requests = 0
  #bytes = 0
  #stopping: PromiseWithResolvers<void> | undefined

  constructor(options: InferenceDeskOptions) {
    this.#options = options
    this.#telemetry = options.metrics.api()
  }

  get ready(): boolean {
    const models = [...this.#models.values()]
    const answers = ({ preferred, versions }: DeskModel) => {
      const version = versions.get(preferred ?? '')
      return version !== undefined && version.refusal === undefined
    }
    return !this.#starting && this.#stopping === undefined && models.every(answers)
  }

  get maxBodyBytes(): number {
    return this.#options.settings.apiMaxBodyBytes
  }

  /**
   * A version that is open takes requests from now on, by its name; `prefer` has it answer those that name none.
   * @returns the version for the stream, with what is left of its sessions. Closing it waits for the requests that it has.
   */
  add(model: ServedModel): ServedModel {
    const { settings, maxQueueDelayMs, clock, metrics, mostHung, onCondition } = this.#options
    const { name, version } = model.spec
    const opened = new ApiVersion({
      model,
      clock,
      share: settings.apiShare,
      maxQueueDelayMs,
      telemetry: metrics.batcher({ model: name, version }),
      mostHung,
      onCondition: error => onCondition(model.spec, error),
    })
    const { versions } = this.#modelOf(name)
    versions.set(version, opened)
    return {
      ...model,
      pool: opened.tasks,
      tasksWaitWhen: wait => opened.tasksWaitWhen(wait),
      close: async () => {
        if (versions.get(version) === opened) versions.delete(version)
        await within(clock, CLOSE_PATIENCE_MS, opened.drained())
        opened.close()
        await model.close()
      },
    }
  }

  /** All that is to be asked from the start on is open. What is open before that answers, but is not called ready. */
  started(): void {
    this.#starting = false
  }

  /** Requests that name no version are answered by this one; those that wait stay with the one that they came for. */
  prefer(model: string, version: string): void {
    this.#modelOf(model).preferred = version
  }

  /** Refuses what comes from now on; resolves when all that came before is answered, to the last byte. */
  stop(): Promise<void> {
    this.#stopping ??= Promise.withResolvers()
    if (this.#requests === 0) this.#stopping.resolve()
    return this.#stopping.promise
  }

  metadata(model: string, version: string | undefined): ModelMetadata {
    const { spec } = this.#find(model, version)
    return metadataOf(spec, [...this.#models.get(model)!.versions.keys()])
  }

  requireReady(model: string, version: string | undefined): void {
    const { refusal } = this.#find(model, version)
    if (this.#stopping !== undefined) throw stopping()
    if (refusal !== undefined) throw refusal
  }

  enter(bytes: number | undefined): Admission {
    let size = bytes ?? this.maxBodyBytes
    const refusal = this.#refusal(size)
    if (refusal !== undefined) {
      this.#telemetry.refused('', '', refusal.code)
      throw refusal
    }
    this.#count(1, size)
    let there = true
    return {
      answered: more => {
        size += more
        this.#bytes += more
      },
      leave: () => {
        if (there) this.#count(-1, -size)
        there = false
      },
    }
  }

  infer(call: InferCall): void {
    const { clock, settings } = this.#options
    const startedAt = clock.now()
    let version: ApiVersion | undefined
    const refuse = (error: SluiceError) => {
      this.#telemetry.refused(version?.spec.name ?? '', version?.spec.version ?? '', error.code)
      call.refuse(error)
    }
    try {
      version = this.#find(call.model, call.version)
      const { spec } = version
      const request = parseInferRequest(call.body, call.headerLength, spec, settings)
      const patienceMs = Math.min(settings.apiDeadlineMs, request.timeoutMs ?? Number.POSITIVE_INFINITY)
      version.run(request, startedAt + patienceMs, {
        refuse,
        abandoned: call.abandoned,
        answer: answer => {
          this.#telemetry.answered(spec.name, spec.version, request.rows, clock.now() - startedAt)
          call.answer(answer)
        },
      })
    } catch (error) {
      refuse(asSluiceError(error, 'internal'))
    }
  }

  #refusal(bytes: number): SluiceError | undefined {
    const { apiMaxBodyBytes, apiMaxWaiting, apiMaxWaitingBytes } = this.#options.settings
    if (this.#stopping !== undefined) return stopping()
    if (bytes > apiMaxBodyBytes)
      return new SluiceError(
        'request-too-large',
        `the body has ${bytes} bytes; API_MAX_BODY_BYTES allows ${apiMaxBodyBytes}`,
      )
    if (this.#requests >= apiMaxWaiting)
      return new SluiceError('overloaded', `${this.#requests} requests are under way; API_MAX_WAITING allows no more`)
    if (this.#bytes + bytes > apiMaxWaitingBytes)
      return new SluiceError(
        'overloaded',
        `${this.#bytes} bytes of requests and answers are under way; API_MAX_WAITING_BYTES is ${apiMaxWaitingBytes}`,
      )
    return undefined
  }

  #count(requests: number, bytes: number): void {
    this.#requests += requests
    this.#bytes += bytes
    this.#telemetry.waiting(this.#requests)
    if (this.#requests === 0) this.#stopping?.resolve()
  }

  #modelOf(name: string): DeskModel {
    let model = this.#models.get(name)
    if (model === undefined) {
      model = { versions: new Map(), preferred: undefined }
      this.#models.set(name, model)
    }
    return model
  }

  #find(name: string, version: string | undefined): ApiVersion {
    const model = this.#models.get(name)
    if (model === undefined || model.versions.size === 0) {
      const names = [...this.#models.keys()].join(', ')
      throw new SluiceError(
        'version-not-served',
        `no model "${name}" is served here; ${names === '' ? 'none is yet' : `there is ${names}`}`,
      )
    }
    const found = model.versions.get(version ?? model.preferred ?? '')
    if (found !== undefined) return found
    const versions = [...model.versions.keys()].join(', ')
    throw new SluiceError(
      'version-not-served',
      `model "${name}" is not served in version "${version ?? 'live'}"; there is ${versions}`,
    )
  }
}

function stopping(): SluiceError {
  return new SluiceError('not-ready', 'this process is stopping')
}
