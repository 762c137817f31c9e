/** What the routes of the inference API take and give, for the OpenAPI document and for the JSON of the metadata. */

const text = { type: 'string' } as const
const parameters = { type: 'object', additionalProperties: true } as const

const tensor = {
  type: 'object',
  required: ['name', 'datatype', 'shape'],
  properties: {
    name: text,
    datatype: { type: 'string', enum: ['FP16', 'FP32', 'FP64', 'INT32', 'INT64', 'BOOL', 'BYTES'] },
    shape: { type: 'array', items: { type: 'integer' }, description: 'The batch first; -1 is any size.' },
  },
} as const

const filledTensor = (description: string) => ({
  ...tensor,
  properties: {
    ...tensor.properties,
    parameters: { ...parameters, description: '`binary_data_size`: the data follows the JSON, in so many bytes.' },
    data: { type: 'array', items: {}, description },
  },
})

const failure = (description: string) => ({
  description,
  type: 'object',
  required: ['error'],
  properties: { error: text },
})

const FAILURES = {
  404: failure('No such model, or not this version of it, is served here.'),
  503: failure('Starting, stopping, overloaded, or the deadline has passed; Retry-After says when to try again.'),
}

const modelParameter = { ...text, description: 'Name of the model.' }
const versionParameter = { ...text, description: 'Version; without it the one answers that is live.' }

/** The path of a model, with its version or without. */
function paramsOf(withVersion: boolean) {
  const properties = withVersion ? { model: modelParameter, version: versionParameter } : { model: modelParameter }
  return { type: 'object', required: Object.keys(properties), properties }
}

const ready = {
  type: 'object',
  required: ['ready'],
  properties: { name: text, ready: { type: 'boolean' } },
}

export const serverSchema = {
  summary: 'Metadata of the server',
  response: {
    200: {
      description: 'Metadata',
      type: 'object',
      required: ['name', 'version', 'extensions'],
      properties: { name: text, version: text, extensions: { type: 'array', items: text } },
    },
  },
}

export const liveSchema = {
  summary: 'Whether the process lives',
  response: { 200: { description: 'It does', type: 'object', properties: { live: { type: 'boolean' } } } },
}

export const serverReadySchema = {
  summary: 'Whether requests are taken',
  response: { 200: { description: 'They are', ...ready }, 503: { description: 'They are not', ...ready } },
}

export const modelReadySchema = (withVersion: boolean) => ({
  summary: 'Whether a model answers',
  params: paramsOf(withVersion),
  response: { 200: { description: 'It does', ...ready }, ...FAILURES },
})

export const metadataSchema = (withVersion: boolean) => ({
  summary: 'Tensors and versions of a model',
  params: paramsOf(withVersion),
  response: {
    200: {
      description: 'Metadata',
      type: 'object',
      required: ['name', 'versions', 'platform', 'inputs', 'outputs'],
      properties: {
        name: text,
        versions: { type: 'array', items: text },
        platform: text,
        inputs: { type: 'array', items: tensor },
        outputs: { type: 'array', items: tensor },
      },
    },
    ...FAILURES,
  },
})

export const inferSchema = (withVersion: boolean) => ({
  summary: 'Predictions for rows',
  description:
    'JSON, or JSON of `Inference-Header-Content-Length` bytes with the binary tensors after it. Requests are batched together.',
  consumes: ['application/json', 'application/octet-stream'],
  params: paramsOf(withVersion),
  headers: {
    type: 'object',
    properties: { 'inference-header-content-length': { type: 'integer', description: 'Bytes of JSON in the body.' } },
  },
  body: {
    type: 'object',
    required: ['inputs'],
    properties: {
      id: text,
      parameters: {
        ...parameters,
        description: '`timeout` in microseconds; `binary_data_output`: all outputs in binary.',
      },
      inputs: { type: 'array', items: filledTensor('Elements, nested as the shape is, or flat.') },
      outputs: {
        type: 'array',
        description: 'Those that are wanted; left out or empty: all.',
        items: { type: 'object', required: ['name'], properties: { name: text, parameters } },
      },
    },
  },
  response: {
    200: {
      description: 'Predictions',
      type: 'object',
      required: ['model_name', 'model_version', 'outputs'],
      properties: {
        model_name: text,
        model_version: text,
        id: text,
        outputs: { type: 'array', items: filledTensor('Elements, flat.') },
      },
    },
    400: failure('The request, a tensor of it, or a row does not fit the model.'),
    ...FAILURES,
    413: failure('Too many bytes or rows, or too large an answer.'),
  },
})
