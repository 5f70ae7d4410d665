pub async fn generated_histories_agree_with_the_model(_lab: crate::lab::Lab) {}
