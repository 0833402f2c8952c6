/**
 * Digests of what calibrations write, committed in {@code src/test/resources/digests}: they fail where a change moves a byte
 * that it should not. They use the command line and the files that it writes, so they hold through changes of all that lies between.
 */
package io.github.ptq4vit.digests;
