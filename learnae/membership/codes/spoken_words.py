"""The 256 words of spoken codes: no two begin with the same four letters, or are within two letters of one another."""

_LIST = """
    acrobat album alpine anagram anchor animal antenna apple april arctic arrow artist asphalt atlas atom
    autumn avocado award badge bakery balcony bamboo banana barrel bazaar beacon berry bicycle biology biscuit
    bishop blossom bonus border bottle bronze buffalo bulldog butter cabin cactus camera canary canvas captain
    caramel carpet castle cedar cello cement chapter chess chimney cinema circus clinic clover cobalt cobweb
    coconut coffee colony compass concert cotton cricket crystal cushion cyclone dancer delta dentist desert
    diamond diesel doctor dolphin domino dragon drummer dynamo eclair eclipse editor elbow embassy emerald
    engine evening fabric family feather fiction forest fossil fridge furnace galaxy garden garlic gazelle
    geyser giraffe glacier gorilla granite guitar hammer harbor harvest helium helmet hexagon horizon hotel
    iceberg icon igloo impact insect island ivory jacket jaguar jasmine jewel jigsaw judo jungle jupiter
    karate kayak ketchup kimono kitchen koala ladder lagoon lantern lava lemon leopard lettuce library linen
    lizard lobster lunar magnet mammoth mango meadow mercury metal mineral mirror mobile monkey mosaic museum
    mustard napkin nature nebula nectar neptune nickel noodle north nougat number nutmeg oasis ocean october
    olive omega onion orange orbit orchid origami ostrich oxygen pacific paddle palace panda papaya pastry
    pebble pelican pencil penguin pepper photo piano picnic pigeon pilot planet plastic poncho prism puzzle
    quartz queen quiver rabbit raisin ribbon robot ruby safari salmon samba scarf shield silver sketch soccer
    solar sphinx spider sponge stereo studio sunset swan syrup table tempo tennis tiger tomato topaz tulip
    tundra tunnel turtle tuxedo utopia valley violin voyage waffle walnut water whale window wolf yoga yogurt
    zebra zigzag
"""
WORDS = tuple(_LIST.split())
