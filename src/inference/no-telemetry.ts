/**
 * To be imported before onnxruntime-node, whose release 1.30 otherwise sends telemetry to its maker (OneCollector) from
 * Linux, too, and leaves a file in the folder for temporary files for each process. Whoever sets the variable decides.
 */
process.env.ORT_DISABLE_TELEMETRY ??= '1'
