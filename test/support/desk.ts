import { loadSettings } from '../../src/config/load.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { Health } from '../../src/ops/health.ts'
import { type HttpServer, serveHttp } from '../../src/ops/http.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { InferenceDesk } from '../../src/requests/inference-desk.ts'
import { openModel, type ServedModel, slotsOfGuests, slotsOfOne } from '../../src/serving/serving.ts'
import { parseMetrics } from './metrics.ts'
import { MODEL_STORE } from './models.ts'

/** The inference API over HTTP, with real models in this process. */
export interface OpenDesk extends AsyncDisposable {
  readonly desk: InferenceDesk
  readonly http: HttpServer
  /** As the stream has them. */
  readonly models: readonly ServedModel[]
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>
}

interface DeskOptions {
  readonly store?: string
  /** `name`, or `name:version`; the first version of a model answers by default. */
  readonly models: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export async function openDesk({ store = MODEL_STORE, models: names, env = {} }: DeskOptions): Promise<OpenDesk> {
  const { settings } = loadSettings({ env: { MODEL_STORE: store, ...env } })
  const metrics = new Metrics({ release: undefined, process: false })
  const tools = { log: silentLog, clock: systemClock }
  const desk = new InferenceDesk({ settings, maxQueueDelayMs: 0, clock: systemClock, metrics, onCondition: () => {} })
  const models: ServedModel[] = []
  for (const name of names) {
    const [modelName, modelVersion] = name.split(':') as [string, string | undefined]
    const slots = (sessions: number) => slotsOfOne(sessions) + slotsOfGuests(sessions)
    const model = desk.add(await openModel({ ...settings, modelName, modelVersion }, tools, slots))
    if (!models.some(({ spec }) => spec.name === modelName)) desk.prefer(modelName, model.spec.version)
    models.push(model)
  }
  desk.started()
  const health = new Health(tools)
  health.enter('RUNNING')
  const http = await serveHttp({
    host: '127.0.0.1',
    port: 0,
    release: '9.9.9',
    log: silentLog,
    health,
    metrics,
    api: desk,
  })
  return {
    desk,
    http,
    models,
    post(path, body, headers = {}) {
      const sent = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
      return fetch(`${http.url}/v2/models/${path}`, { method: 'POST', body: sent as string, headers })
    },
    async metric(name, labels = {}) {
      const samples = parseMetrics((await metrics.expose()).body).filter(
        sample =>
          sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
      )
      return samples.reduce((sum, { value }) => sum + value, 0)
    },
    async [Symbol.asyncDispose]() {
      await http.close()
      await Promise.all(models.map(model => model.close()))
    },
  }
}
