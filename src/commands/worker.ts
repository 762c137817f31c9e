import { loadSettings, showGiven } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { systemClock } from '../core/clock.ts'
import { Health } from '../ops/health.ts'
import { serveHttp } from '../ops/http.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import { Worker } from '../worker.ts'
import { type Command, refusePositionals } from './command.ts'

export const worker: Command = {
  usage: 'sluice worker [options]',
  summary: 'one replica: joins the group and predicts until it is told to stop',
  help: `Reads features from INPUT_TOPIC, predicts with MODEL_NAME and publishes to OUTPUT_TOPIC, exactly once.
SIGTERM or SIGINT drains: what is in flight is committed, the group is left, and the exit code is 0.
Requests over HTTP are answered by the same sessions (docs/api.md; HTTP_API=false turns that off).
Replicas with the same GROUP_ID share the partitions. Every setting is an option: sluice config lists them.

Example:
  sluice worker --input-topic iris-features --output-topic iris-predictions --model-name iris-classifier`,

  async run({ argv, env, dotenvFile, signal, release, useLog }) {
    const { settings: options, positionals } = parseOptions(argv)
    refusePositionals(positionals, worker.usage)
    const loaded = loadSettings({
      options,
      env,
      dotenvFile,
      required: ['inputTopic', 'outputTopic', 'deadLetterTopic', 'modelName'],
    })
    const { settings } = loaded
    const log = createLog({ level: settings.logLevel, format: settings.logFormat, name: 'sluice' })
    useLog(log)
    log.info({ release, settings: showGiven(loaded) }, 'starting')
    const metrics = new Metrics({ release, process: true })
    const clock = systemClock
    const health = new Health({ clock, log, onReady: ready => metrics.ready(ready) })
    const served = new Worker(settings, { log, clock, health, metrics })
    const { httpHost: host, httpPort: port } = settings
    const status = () => served.status()
    const http = await serveHttp({ host, port, release, log, health, metrics, status, api: served.desk })
    log.info({ url: http.url, port: http.port }, 'serving health, metrics and the status page')
    try {
      await served.run(signal)
    } finally {
      await http.close()
    }
  },
}
