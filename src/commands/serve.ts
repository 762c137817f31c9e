import { loadSettings, showGiven } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { Health } from '../ops/health.ts'
import { serveHttp } from '../ops/http.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import { type ModelChoice, ModelServer } from '../requests/model-server.ts'
import { type Command, refusePositionals } from './command.ts'

export const serve: Command = {
  usage: 'sluice serve [--model NAME[:VERSION],…] [options]',
  summary: 'answers the Open Inference Protocol over HTTP, without Kafka',
  help: `Opens models of MODEL_STORE and answers requests for them at HTTP_HOST and HTTP_PORT, batched together (docs/api.md).
--model names what is opened: NAME is its highest version, several are separated by commas. Without it MODEL_NAME and
MODEL_VERSION say so, and without these it is the highest version of every model of the store.
Of several versions of a model the first one answers requests that name none.
SIGTERM or SIGINT finishes the requests that are under way, and the exit code is 0.

Example:
  sluice serve --model iris-classifier --http-port 8080
  curl 127.0.0.1:8080/v2/models/iris-classifier/infer -d '{"inputs":[{"name":"float_input","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}'`,

  async run({ argv, env, dotenvFile, signal, release, useLog }) {
    const { settings: options, extra, positionals } = parseOptions(argv, { model: 'string' })
    refusePositionals(positionals, serve.usage)
    const loaded = loadSettings({ options, env, dotenvFile })
    const { settings } = loaded
    const choices = choicesOf(extra.model, settings)
    const log = createLog({ level: settings.logLevel, format: settings.logFormat, name: 'sluice' })
    useLog(log)
    log.info({ release, settings: showGiven(loaded) }, 'starting')
    const metrics = new Metrics({ release, process: true })
    const clock = systemClock
    const health = new Health({ clock, log, onReady: ready => metrics.ready(ready) })
    const server = new ModelServer(settings, { log, clock, health, metrics })
    const { httpHost: host, httpPort: port } = settings
    const http = await serveHttp({ host, port, release, log, health, metrics, api: server.desk })
    log.info({ url: http.url, port: http.port }, 'serving the inference API, health and metrics')
    try {
      await server.run(choices, signal)
    } finally {
      await http.close()
    }
  },
}

/** @throws SluiceError `invalid-config` */
function choicesOf(
  text: string | undefined,
  { modelName, modelVersion }: { modelName?: string | undefined; modelVersion?: string | undefined },
): ModelChoice[] {
  if (text === undefined) return modelName === undefined ? [] : [{ name: modelName, version: modelVersion }]
  return text.split(',').map(item => {
    const match = /^\s*([A-Za-z0-9][\w.-]*)(?::([A-Za-z0-9][\w.-]*))?\s*$/.exec(item)
    if (match === null)
      throw new SluiceError('invalid-config', `--model has ${JSON.stringify(item)}, expected NAME or NAME:VERSION`)
    return { name: match[1]!, version: match[2] }
  })
}
