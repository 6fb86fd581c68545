package org.dblock.api;

/**
 * A volume that a store holds.
 *
 * @param name as {@link VolumeSpec#volume()} takes it
 * @param size in bytes; 0: not known without opening it
 * @param allocated in bytes, what it takes of the storage; -1: not known
 */
public record VolumeInfo(String name, long size, long allocated) {}
