import { parseOptions } from '../config/options.ts'
import type { Settings } from '../config/settings.ts'
import { connectionOptions } from '../connection.ts'
import { SluiceError } from '../core/errors.ts'
import { createTopicLike } from '../kafka/topics.ts'
import { shadowTopicOf } from '../replica/committing.ts'
import type { Command } from './command.ts'
import { CHANGE_HELP, CHANGE_OPTIONS, namedPositionals, runChange, settingsOf } from './model-change.ts'

export const modelShadow: Command = {
  usage: 'sluice model shadow NAME VERSION [--off] [--timeout SECONDS] [--json] [options]',
  summary: 'lets a version predict everything besides, out of sight',
  help: `The version predicts every record too. Its predictions go to the topic OUTPUT_TOPIC.shadow, which is created where it is
missing, with as many partitions as OUTPUT_TOPIC, and never delay or fail the live ones. There may be several shadows.
It goes live as "sluice model promote" says, or not at all.

  --off              end this shadow; its topic stays
${CHANGE_HELP}

Example:
  sluice model shadow iris-classifier 4 --output-topic iris-predictions`,

  async run(context) {
    const { settings: options, extra, positionals } = parseOptions(context.argv, EXTRA)
    const [model, version] = namedPositionals(positionals, ['NAME', 'VERSION'], modelShadow.usage)
    const settings = settingsOf(options, context)
    if (!extra.off) await createShadowTopic(settings, context.print, extra.json)
    const change = { kind: extra.off ? ('shadow-off' as const) : ('shadow' as const), version }
    await runChange({ model, change, settings, timeout: extra.timeout, json: extra.json }, context)
  },
}

const EXTRA = { ...CHANGE_OPTIONS, off: 'boolean' } as const

async function createShadowTopic(
  settings: Settings,
  print: (line: string) => void,
  quiet: boolean | undefined,
): Promise<void> {
  const { outputTopic } = settings
  if (outputTopic === undefined) {
    throw new SluiceError(
      'invalid-config',
      'OUTPUT_TOPIC is not set: the predictions of shadows go to a topic beside it',
    )
  }
  const topic = shadowTopicOf(outputTopic)
  const partitions = await createTopicLike(connectionOptions(settings), topic, outputTopic)
  if (partitions !== undefined && !quiet) print(`${topic}: created with ${partitions} partitions`)
}
