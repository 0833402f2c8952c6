/**
 * The CPU backend: oneDNN computes, one single-threaded stream a worker thread, and Java decides what runs where. It is
 * the embedded default and needs nothing installed.
 */
package io.github.ptq4vit.backend.cpu;
