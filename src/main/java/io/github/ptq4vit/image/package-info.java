/**
 * From files to pixels: the first step of every run. {@link io.github.ptq4vit.image.ImageFolder} lists the images of a
 * folder, {@link io.github.ptq4vit.image.ImageDecoder} reads one of them,
 * {@link io.github.ptq4vit.image.ImageTransform} resizes, crops and normalises it exactly as timm's evaluation
 * transform does with Pillow and torchvision, and {@link io.github.ptq4vit.image.ImageLoader} does all of that ahead
 * of its consumer and hands out batches {@code [images, 3, height, width]} for the model.
 * {@link io.github.ptq4vit.image.Labels} has the true classes. Depends on {@code tensor} alone.
 */
package io.github.ptq4vit.image;
