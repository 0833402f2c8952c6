package io.github.ptq4vit.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every form in which timm, transformers and torchvision record a transform. */
class RecordedTransformTest {
    private static final String HALF = "mean=0.5:0.5:0.5,std=0.5:0.5:0.5";
    private static final String IMAGENET = "mean=0.485:0.456:0.406,std=0.229:0.224:0.225";

    private static JsonNode json(String text) {
        try {
            return new JsonMapper().readTree(text.replace('\'', '"'));
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(e);
        }
    }

    private static String processor(String text) {
        return ProcessorTransform.of(json(text), 224).toString().replace(HALF, "HALF").replace(IMAGENET, "IMAGENET");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', value = {
        // feature extractors of version 4
        "{'feature_extractor_type': 'ViTFeatureExtractor', 'do_normalize': true, 'do_resize': true, 'image_mean': [0.5, 0.5, 0.5],"
            + " 'image_std': [0.5, 0.5, 0.5], 'resample': 2, 'size': 224} | resize=224,crop=224,HALF,filter=bilinear,fit=stretch",
        "{'feature_extractor_type': 'ViTFeatureExtractor', 'resample': 3, 'size': [224, 224], 'image_mean': [0.485, 0.456, 0.406],"
            + " 'image_std': [0.229, 0.224, 0.225]} | resize=224,crop=224,IMAGENET,fit=stretch",
        "{'feature_extractor_type': 'DeiTFeatureExtractor', 'crop_size': 224, 'do_center_crop': true, 'resample': 3, 'size': 256,"
            + " 'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]} | resize=256,crop=224,IMAGENET,fit=stretch",
        // slow processors
        "{'image_processor_type': 'ViTImageProcessor', 'size': {'height': 224, 'width': 224}, 'resample': 2}"
            + " | resize=224,crop=224,HALF,filter=bilinear,fit=stretch",
        "{'image_processor_type': 'DeiTImageProcessor', 'size': {'height': 224, 'width': 224}, 'crop_size': {'height': 200, 'width': 200},"
            + " 'do_center_crop': false} | resize=224,crop=224,HALF,fit=stretch",
        "{'image_processor_type': 'BitImageProcessor', 'size': {'shortest_edge': 256}, 'crop_size': {'height': 224, 'width': 224},"
            + " 'do_center_crop': true, 'resample': 3, 'image_mean': 0.5, 'image_std': 0.5} | resize=256,crop=224,HALF,centre=floor",
        "{'image_processor_type': 'BitImageProcessor', 'size': 256, 'image_mean': 0.5, 'image_std': 0.5} | resize=256,crop=224,HALF,centre=floor",
        "{'image_processor_type': 'ConvNextImageProcessor', 'size': {'shortest_edge': 224}, 'crop_pct': 0.875, 'resample': 3}"
            + " | resize=256,crop=224,HALF,centre=floor",
        "{'feature_extractor_type': 'ConvNextFeatureExtractor', 'size': 224, 'crop_pct': 0.95, 'resample': 2}"
            + " | resize=235,crop=224,HALF,filter=bilinear,centre=floor",
        "{'image_processor_type': 'PoolFormerImageProcessor', 'size': {'shortest_edge': 224}, 'crop_pct': 0.9}"
            + " | resize=248,crop=224,IMAGENET,centre=floor",
        "{'image_processor_type': 'LevitImageProcessor', 'size': {'shortest_edge': 224}} | resize=256,crop=224,IMAGENET,centre=floor",
        "{'image_processor_type': 'SiglipImageProcessor', 'size': {'height': 224, 'width': 224}, 'resample': 1}"
            + " | resize=224,crop=224,HALF,filter=lanczos,fit=stretch",
        // fast processors: what is not in use is null
        "{'image_processor_type': 'ViTImageProcessorFast', 'crop_size': null, 'default_to_square': true, 'device': null, 'do_center_crop': null,"
            + " 'do_convert_rgb': null, 'do_pad': null, 'pad_size': null, 'size': {'height': 224, 'width': 224, 'shortest_edge': null},"
            + " 'resample': 2, 'image_mean': null, 'image_std': null, 'rescale_factor': null, 'do_normalize': null}"
            + " | resize=224,crop=224,HALF,filter=bilinear,fit=stretch",
        "{'image_processor_type': 'DeiTImageProcessorFast', 'do_center_crop': true, 'size': {'height': 255, 'width': 255}}"
            + " | resize=255,crop=224,HALF,fit=stretch,centre=floor",
        "{'image_processor_type': 'ViTImageProcessor', 'do_resize': false} | resize=none,crop=224,HALF,filter=bilinear,fit=stretch,centre=floor",
        "{'image_processor_type': 'ViTImageProcessor', 'do_normalize': false}"
            + " | resize=224,crop=224,mean=0.0:0.0:0.0,std=1.0:1.0:1.0,filter=bilinear,fit=stretch",
        // without a class
        "{'size': 224, 'image_mean': [0.5, 0.5, 0.5], 'image_std': [0.5, 0.5, 0.5], 'resample': 0}"
            + " | resize=224,crop=224,HALF,filter=nearest,fit=stretch",
        "{'size': {'shortest_edge': 256}, 'crop_size': 224, 'image_mean': 0.5, 'image_std': 0.5, 'resample': 4}"
            + " | resize=256,crop=224,HALF,filter=box,centre=floor",
        "{'size': {'shortest_edge': 224}, 'crop_pct': 0.875, 'image_mean': 0.5, 'image_std': 0.5, 'resample': 5}"
            + " | resize=256,crop=224,HALF,filter=hamming,centre=floor",
        // timm's wrapper
        "{'image_processor_type': 'TimmWrapperImageProcessor', 'pretrained_cfg': {'input_size': [3, 224, 224], 'crop_pct': 0.9,"
            + " 'interpolation': 'bicubic', 'mean': [0.5, 0.5, 0.5], 'std': [0.5, 0.5, 0.5]}} | resize=248,crop=224,HALF"})
    void transformersConfigurationsAreRead(String text, String expected) {
        assertEquals(expected, processor(text));
    }

    @Test
    void convNextStretchesLargeImages() {
        String text = "{'image_processor_type': 'ConvNextImageProcessor', 'size': {'shortest_edge': 384}, 'crop_pct': 0.875, 'resample': 3}";
        assertEquals("resize=384,crop=384," + HALF + ",fit=stretch", ProcessorTransform.of(json(text), 384).toString());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', value = {
        "{} | size is missing", "{'size': {'height': 224, 'width': 288}} | size", "{'size': 224} | image_mean is missing",
        "{'size': {'shortest_edge': 224, 'longest_edge': 1333}, 'image_mean': 1, 'image_std': 1} | size",
        "{'size': {'longest_edge': 224}} | size", "{'size': {'max_height': 224, 'max_width': 224}} | size",
        "{'image_processor_type': 'ViTImageProcessor', 'do_pad': true} | do_pad",
        "{'image_processor_type': 'ViTImageProcessor', 'pad_size': {'height': 256}} | pad_size",
        "{'image_processor_type': 'ViTImageProcessor', 'do_flip_channel_order': true} | do_flip_channel_order",
        "{'image_processor_type': 'ViTImageProcessor', 'crop_pct': 0.9} | crop_pct",
        "{'image_processor_type': 'ViTImageProcessor', 'resample': 6} | resample is 6",
        "{'image_processor_type': 'ViTImageProcessor', 'do_rescale': false} | do_rescale",
        "{'image_processor_type': 'ViTImageProcessor', 'rescale_factor': 0.00784} | rescale_factor",
        "{'image_processor_type': 'ViTImageProcessor', 'rescale_offset': true} | rescale_offset",
        "{'image_processor_type': 'ViTImageProcessor', 'size': 0} | size", "{'image_processor_type': 'ViTImageProcessor', 'size': 224.5} | size",
        "{'image_processor_type': 'ViTImageProcessor', 'image_std': [1, 0, 1]} | std",
        "{'image_processor_type': 'ViTImageProcessor', 'image_mean': [1, 1]} | image_mean",
        "{'image_processor_type': 'BitImageProcessor', 'do_center_crop': false} | size",
        "{'image_processor_type': 'ConvNextImageProcessor', 'crop_pct': 1.5} | crop_pct",
        "{'image_processor_type': 'MobileViTImageProcessor', 'size': 224} | MobileViTImageProcessor"})
    void whatCannotBeDoneIsRefusedByName(String text, String named) {
        String message = assertThrows(IllegalArgumentException.class, () -> ProcessorTransform.of(json(text), 224)).getMessage();
        assertTrue(message.contains(named), message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', value = {
        "{} | resize=256,crop=224,IMAGENET",
        "{'mean': null, 'std': null, 'crop_pct': null, 'crop_mode': null, 'interpolation': null} | resize=256,crop=224,IMAGENET",
        "{'mean': [0.5, 0.5, 0.5], 'std': '0.5,0.5,0.5', 'crop_pct': '0.9', 'interpolation': 'bilinear'} | resize=248,crop=224,HALF,filter=bilinear",
        "{'mean': '(0.5, 0.5, 0.5)', 'std': 'None', 'crop_pct': 1} | resize=224,crop=224,mean=0.5:0.5:0.5,std=0.229:0.224:0.225",
        "{'crop_mode': 'squash', 'crop_pct': 1.0} | resize=224,crop=224,IMAGENET,fit=stretch",
        "{'crop_mode': 'border', 'crop_pct': 0.95} | resize=235,crop=224,IMAGENET,fit=longer,border=mean",
        "{'crop_mode': 'center', 'interpolation': 'lanczos', 'crop_pct': 0.875} | resize=256,crop=224,IMAGENET,filter=lanczos",
        // a larger input for tests only
        "{'input_size': [3, 192, 192], 'test_input_size': [3, 224, 224], 'crop_pct': 0.9, 'test_crop_pct': 1.0} | resize=224,crop=224,IMAGENET",
        "{'input_size': [3, 224, 224], 'test_input_size': [3, 288, 288], 'crop_pct': 0.9, 'test_crop_pct': 1.0} | resize=248,crop=224,IMAGENET",
        // torchvision's presets
        "{'crop_size': 224, 'resize_size': 242, 'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225],"
            + " 'interpolation': 'InterpolationMode.BILINEAR', 'antialias': true} | resize=242,crop=224,IMAGENET,filter=bilinear",
        "{'crop_size': [224], 'resize_size': [232], 'interpolation': 'bicubic'} | resize=232,crop=224,IMAGENET"})
    void timmsAndTorchvisionsSettingsAreRead(String text, String expected) {
        assertEquals(expected, TimmTransform.of(json(text), TimmTransform.defaults(), 224).toString().replace(HALF, "HALF")
                .replace(IMAGENET, "IMAGENET"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', value = {"{'crop_mode': 'random'} | crop_mode", "{'interpolation': 'random'} | interpolation",
        "{'crop_pct': 0} | crop_pct", "{'crop_pct': 'NaN'} | crop_pct", "{'mean': 'red'} | mean", "{'std': [0, 0, 0]} | std",
        "{'resize_size': [256, 320]} | resize_size", "{'antialias': false, 'resize_size': 256} | antialias"})
    void whatTimmCouldNotMeanIsRefusedByName(String text, String named) {
        String message = assertThrows(IllegalArgumentException.class, () -> TimmTransform.of(json(text), TimmTransform.defaults(), 224))
                .getMessage();
        assertTrue(message.contains(named), message);
    }
}
