import { readWriterSchema, schemaFault } from '../codec/feature-decoder.ts'
import { SchemaRegistry } from '../codec/registry.ts'
import { SchemaDir } from '../codec/schema-dir.ts'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { ModelSpec } from '../core/model.ts'

export type SchemaSettings = Pick<
  Settings,
  | 'inputFormat'
  | 'inputSchema'
  | 'inputTopic'
  | 'schemaRegistryUrl'
  | 'schemaRegistryUsername'
  | 'schemaRegistryPassword'
  | 'schemaDir'
  | 'requestTimeoutMs'
  | 'maxRecordBytes'
  | 'allowNonFinite'
> & {
  /** Somebody has set SCHEMA_DIR; where it is only the default, its schemas may be meant for other models. */
  readonly schemaDirGiven: boolean
}

/** Whether records of the configured schema have the features of a model. */
export interface SchemaFit {
  /** Undefined: no schema says it. */
  readonly fits: boolean | undefined
  /** Which schema it was, and what is wrong with it, or why there is none. */
  readonly message: string
}

interface NamedSchema {
  readonly label: string
  readonly schema: string
}

/**
 * Looks for the schema of the input records as the worker would meet it, and compiles the decoder that the worker would
 * use. That decoder is the judge: of a missing feature without a default, and of a type that the tensor does not take.
 * @throws SluiceError `registry-unreachable`, `unusable-schema`, `schema-dir-invalid`, `invalid-config`
 */
export async function checkRecordSchema(spec: ModelSpec, settings: SchemaSettings, clock: Clock): Promise<SchemaFit> {
  switch (settings.inputFormat) {
    case 'json':
      return { fits: undefined, message: 'INPUT_FORMAT is json, and JSON records have no schema' }
    case 'avro-raw': {
      const schema = await readWriterSchema(settings.inputSchema ?? '')
      return judge(spec, settings, [{ label: 'the schema of INPUT_SCHEMA', schema }])
    }
    case 'avro':
      return settings.schemaRegistryUrl === undefined
        ? checkSchemaDir(spec, settings, clock)
        : checkSubject(spec, settings, settings.schemaRegistryUrl, clock)
  }
}

async function checkSubject(spec: ModelSpec, settings: SchemaSettings, url: string, clock: Clock): Promise<SchemaFit> {
  const { inputTopic, schemaRegistryUsername: username, schemaRegistryPassword: password } = settings
  if (inputTopic === undefined) {
    return { fits: undefined, message: 'INPUT_TOPIC is not set, so nothing says which schema of the registry counts' }
  }
  const subject = `${inputTopic}-value`
  const registry = new SchemaRegistry({ url, username, password, timeoutMs: settings.requestTimeoutMs, clock })
  const latest = await registry.latest(subject)
  if (latest === undefined) return { fits: undefined, message: `the registry has no subject ${subject}` }
  return judge(spec, settings, [{ label: `schema ${latest.id}, the latest of ${subject},`, schema: latest.schema }])
}

/** The folder does not say which of its schemas are those of the input: one that fits is enough. */
async function checkSchemaDir(spec: ModelSpec, settings: SchemaSettings, clock: Clock): Promise<SchemaFit> {
  const { schemaDir, schemaDirGiven } = settings
  let listed: ReadonlyMap<number, string>
  try {
    listed = (await SchemaDir.open(schemaDir, clock, silentLog)).schemas
  } catch (error) {
    if (schemaDirGiven || !(error instanceof SluiceError)) throw error
    return { fits: undefined, message: 'neither SCHEMA_REGISTRY_URL nor SCHEMA_DIR is set' }
  }
  const schemas = [...listed].map(([id, schema]) => ({ label: `schema ${id} of ${schemaDir}`, schema }))
  const fit = judge(spec, settings, schemas)
  if (fit.fits || schemaDirGiven) return fit
  const message = `SCHEMA_DIR is not set, and none of the ${schemas.length} schemas in ${schemaDir} has the features`
  return { fits: undefined, message }
}

function judge(spec: ModelSpec, settings: SchemaSettings, schemas: readonly NamedSchema[]): SchemaFit {
  const { allowNonFinite, maxRecordBytes } = settings
  const options = { inputs: spec.inputs, allowNonFinite, maxRecordBytes }
  const faults: string[] = []
  for (const { label, schema } of schemas) {
    const fault = schemaFault(schema, label, options)
    if (fault === undefined) return { fits: true, message: `${label} has the features` }
    faults.push(fault.code === 'unusable-schema' ? fault.message : `${label} does not fit: ${fault.message}`)
  }
  return { fits: false, message: faults.length === 0 ? 'there is no schema at all' : faults.join('; ') }
}
