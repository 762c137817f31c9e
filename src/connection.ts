import { readFileSync } from 'node:fs'
import type { Settings } from './config/settings.ts'
import { messageOf, SluiceError } from './core/errors.ts'
import type { ConnectionOptions } from './kafka/cluster.ts'

/**
 * How to reach the brokers, from the settings.
 * @throws SluiceError `invalid-config` when a file of KAFKA_SSL_* cannot be read
 */
export function connectionOptions(settings: Settings): ConnectionOptions {
  return {
    brokers: settings.kafkaBrokers,
    clientId: settings.kafkaClientId,
    requestTimeoutMs: settings.requestTimeoutMs,
    metadataMaxAgeMs: settings.metadataMaxAgeMs,
    tls: tlsOptions(settings),
    sasl: saslOptions(settings),
  }
}

function tlsOptions(settings: Settings): ConnectionOptions['tls'] {
  if (!settings.kafkaSsl) return undefined
  const file = (name: string, path: string | undefined) => (path === undefined ? {} : { [name]: readPem(path) })
  return {
    rejectUnauthorized: settings.kafkaSslVerify,
    ...file('ca', settings.kafkaSslCa),
    ...file('cert', settings.kafkaSslCert),
    ...file('key', settings.kafkaSslKey),
  }
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new SluiceError('invalid-config', `${path}, which KAFKA_SSL_* names, cannot be read: ${messageOf(error)}`)
  }
}

function saslOptions(settings: Settings): ConnectionOptions['sasl'] {
  const { kafkaSaslMechanism: mechanism, kafkaSaslUsername: username, kafkaSaslPassword: password } = settings
  if (mechanism === 'none' || username === undefined || password === undefined) return undefined
  return { mechanism, username, password }
}
