import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { connectionOptions } from '../connection.ts'
import { SluiceError } from '../core/errors.ts'
import { createTopics, rolloutTopicRequest, timelineTopicRequest } from '../kafka/topics.ts'
import type { Command } from './command.ts'

export const topics: Command = {
  usage: 'sluice topics create [--partitions N] [--replication-factor N] [options]',
  summary: 'makes the topics that the settings name',
  help: `Creates INPUT_TOPIC, OUTPUT_TOPIC and DEAD_LETTER_TOPIC, all with as many partitions, so that a prediction keeps its
record's partition number; and ROLLOUT_TOPIC (compacted) and TIMELINE_TOPIC (kept for ever), of one partition each. Topics
that exist are left as they are. Without --partitions they get 4, without --replication-factor what the broker has as its
default.

Example:
  sluice topics create --input-topic iris-features --output-topic iris-predictions --partitions 8`,

  async run({ argv, env, dotenvFile, print }) {
    const {
      settings: options,
      extra,
      positionals,
    } = parseOptions(argv, {
      partitions: 'string',
      'replication-factor': 'string',
    })
    if (positionals.length !== 1 || positionals[0] !== 'create') {
      throw new SluiceError('invalid-config', `usage: ${topics.usage}`)
    }
    const { settings } = loadSettings({
      options,
      env,
      dotenvFile,
      required: ['inputTopic', 'outputTopic', 'deadLetterTopic'],
    })
    const names = [settings.inputTopic, settings.outputTopic, settings.deadLetterTopic]
    const partitions = count('--partitions', extra.partitions ?? '4')
    const replicationFactor =
      extra['replication-factor'] === undefined ? -1 : count('--replication-factor', extra['replication-factor'])
    const requests = [
      ...names.map(topic => ({ topic, partitions, replicationFactor })),
      rolloutTopicRequest(settings.rolloutTopic, replicationFactor),
      timelineTopicRequest(settings.timelineTopic, replicationFactor),
    ]
    const created = await createTopics(connectionOptions(settings), requests)
    for (const { topic, partitions } of requests) {
      const made = `created with ${partitions} partition${partitions === 1 ? '' : 's'}`
      print(`${topic}: ${created.includes(topic) ? made : 'exists, left as it is'}`)
    }
  },
}

function count(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new SluiceError('invalid-config', `${option} is "${text}"; a whole number from 1 is allowed`)
}
