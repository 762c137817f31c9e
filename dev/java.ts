import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const OLDEST_JAVA = 17

/** What to do instead, for every message about a missing tool. */
export const WITHOUT_JAVA =
  'Or set KAFKA_BROKERS to a broker you have, ' +
  'or start one with "docker compose up -d kafka" and set KAFKA_BROKERS=127.0.0.1:9092.'

/**
 * Path of a Java that can run Kafka: `$JAVA_HOME/bin/java`, otherwise `java` from the PATH.
 * Throws, saying what to install, when there is none or it is older than 17.
 */
export async function findJava(): Promise<string> {
  const java = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'java') : 'java'
  const banner = await run(java, ['-version']).then(
    ({ stderr }) => stderr,
    (error: Error) => {
      throw new Error(
        `Java ${OLDEST_JAVA} or newer is needed to run Kafka, and "${java}" does not start (${firstLine(error.message)}). ` +
          `Install it (Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk). ${WITHOUT_JAVA}`,
      )
    },
  )
  const version = Number(/version "(\d+)/.exec(banner)?.[1])
  if (version >= OLDEST_JAVA) return java
  throw new Error(
    `Java ${OLDEST_JAVA} or newer is needed to run Kafka, and "${java}" is: ${firstLine(banner)}. ` +
      `Install a newer one, or point JAVA_HOME at it. ${WITHOUT_JAVA}`,
  )
}

/**
 * Runs a short-lived Java program to its end and returns what it printed on stdout.
 * Throws with the end of its output when it fails or takes longer than a minute.
 */
export async function runJava(java: string, classpath: string, args: readonly string[]): Promise<string> {
  // A JVM that lives for a second is fastest with the first compiler tier and no garbage collection threads.
  const flags = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']
  try {
    const { stdout } = await run(java, [...flags, '-cp', classpath, ...args], { timeout: 60_000 })
    return stdout
  } catch (error) {
    const { stdout = '', stderr = '', code } = error as { stdout?: string; stderr?: string; code?: unknown }
    throw new Error(`java ${args.join(' ')} failed (${code ?? 'killed'}):\n${tail(stdout + stderr)}`, { cause: error })
  }
}

/** The last lines of a text, for messages that end with what a program said. */
export function tail(text: string, lines = 20): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n')
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
}
