/** Seeing: pages of training runs, live while they train, and TensorBoard's event files. */

export { LiveServer } from './live.js';
export { renderPage, type PageOptions } from './page.js';
export { RunCurves, curveNames, type CurveName, type RunData, type Sample } from './run-curves.js';
export type { Points } from './curve.js';
export { namesOf, readRun, type ReadRunOptions } from './runs.js';
export { TensorBoardWriter } from './tensorboard.js';
